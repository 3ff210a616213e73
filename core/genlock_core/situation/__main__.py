"""Prints `docs/states.md`."""

import sys

from genlock_core.situation.reference import page

sys.stdout.write(page())
