"""``python -m ebm_tracker.cli`` for where the console script is not on the path."""

import sys

from ebm_tracker.cli.parser import main

sys.exit(main())
