"""The only way in for files that others made: each format is read by one module, within limits.

A module bounds size, depth, numbers and time, turns the errors of the library it uses into ours, and returns plain,
checked values. Nothing else in the packages calls such a library on a file.
"""
