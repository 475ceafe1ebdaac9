"""HTML reports of evaluations: what a result consists of, and what is behind it."""
