"""The measurements of `pose benchmark`: networks, and the stages around them."""
