"""Conversion of published YAML files (upper-case keys), shared by the methods' converters.

A key is mapped, or noted as meaningless here with the reason, or unknown, which is an error.
"""
