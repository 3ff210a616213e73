"""Prints `docs/metrics.md`."""

import sys

from genlock_core.metrics.document import document

sys.stdout.write(document())
