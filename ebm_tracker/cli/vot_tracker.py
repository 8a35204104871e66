"""A tracker for the vot toolkit: python -m ebm_tracker.cli.vot_tracker TRACKER PRESET.

The toolkit starts it by the command in trackers.ini, which `ebm eval vot` writes, and talks TraX over stdin and stdout.
It answers with boxes, not masks. Nothing imports this module: what ``python -m`` runs must not be there already.
"""

from __future__ import annotations

import sys

from ebm_tracker.cli.vot_entry import main

if __name__ == "__main__":
    sys.exit(main())
