"""`entrepot`, with one line more in its table."""

import line_protocol.in_the_table  # noqa: F401
from entrepot.cli import main

main()
