"""A real broker for anybody's test suite: a context manager and a pytest plugin."""
