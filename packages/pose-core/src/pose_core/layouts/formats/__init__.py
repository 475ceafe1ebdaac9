"""Annotation formats of other tools and data sets: each module reads one to `ImageRecord`s, and writes it."""
