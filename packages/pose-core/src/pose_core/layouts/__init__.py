"""The published folder layouts of data sets: how each is found, read, checked and scored."""
