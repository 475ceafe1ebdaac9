"""Networks that two methods share, how they are found by name, and how weights get into them."""
