"""Reserved: this method is not built yet, and the package exports nothing."""

__all__: list[str] = []
