"""Pairs of encode (joints → targets) and decode (outputs → keypoints)."""
