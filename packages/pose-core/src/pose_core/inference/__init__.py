"""Finding poses in images, with a trained network."""
