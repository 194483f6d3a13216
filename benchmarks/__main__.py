"""`make bench`: the system benchmarks; their words and options as in `python -m benchmarks.system.run --help`."""

from __future__ import annotations

import sys

from benchmarks.system.run import main

sys.exit(main())
