"""What `pose benchmark` measures: networks, and the stages around them."""
