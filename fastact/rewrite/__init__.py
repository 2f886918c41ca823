"""``fastact rewrite``: NumPy idioms in source code, found and written with fastact."""
