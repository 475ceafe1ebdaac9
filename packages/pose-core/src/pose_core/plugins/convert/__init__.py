"""Published YAML files (upper-case keys) to ours: what the methods' converters share.

A key is mapped, or known to have no meaning here and why, or unknown, which is an error.
"""
