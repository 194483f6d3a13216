"""A protocol for the tests: every line is answered with a greeting, the namespace, and that line. Here lies all that there is of it."""
