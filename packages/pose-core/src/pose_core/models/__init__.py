"""Networks and layers that several methods share, and loading of their weights."""
