"""Manifests of a command line: files, and `-` for what comes in on stdin."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from genlock_core.errors import BadInput

STDIN: Final = "-"
ORIGIN_OF_STDIN: Final = "stdin"
MOST_BYTES: Final = 1 << 20
"""No manifest is so long; a device or a recording that was named by mistake is not read to its end."""

Manifests = Annotated[
    list[str], typer.Argument(help="Manifests with StreamSessions; - is stdin.", metavar="MANIFEST...")
]


def read_texts(names: Sequence[str]) -> Mapping[str, str]:
    """The text of each manifest by where it came from, in the order of the command line. Raises BadInput."""
    texts: dict[str, str] = {}
    for name in names:
        origin = ORIGIN_OF_STDIN if name == STDIN else name
        if origin in texts:
            raise BadInput(f"{origin} is named twice")
        texts[origin] = _text(name, origin)
    return texts


def _text(name: str, origin: str) -> str:
    try:
        if name == STDIN:
            raw = sys.stdin.buffer.read(MOST_BYTES + 1) if sys.stdin is not None else b""
        else:
            with Path(name).open("rb") as file:
                raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise BadInput(f"{origin} is no manifest: it is longer than {MOST_BYTES >> 20} MiB")
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadInput(f"{origin} is no manifest: it is not text in UTF-8") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BadInput(f"cannot read the manifest {origin}: {reason}") from None
