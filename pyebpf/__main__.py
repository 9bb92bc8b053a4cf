"""``python -m pyebpf``: the command line."""

import sys

from pyebpf.cli import main

sys.exit(main())
