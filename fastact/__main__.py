"""``python -m fastact``: the command line."""

import sys

from fastact.cli import main

sys.exit(main())
