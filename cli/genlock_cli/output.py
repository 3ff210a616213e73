"""What a command prints: JSON for programs, tables that no pipe cuts for people."""

import json
import sys
from typing import Final

from rich.console import Console

PIPED_WIDTH: Final = 200
"""Columns for output that no terminal shows: nothing is cut there."""


def print_json(value: object) -> None:
    """Print it on stdout as JSON, for programs."""
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


def console() -> Console:
    """Prints on stdout, as wide as its terminal."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
