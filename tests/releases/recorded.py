"""What was recorded of releases, as a test reads it."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.releases.worker_process import RELEASES

FACTS = "facts.json"
HEAD = "head"
_BLOCKS = "blocks/"


def block_file(block_id: str) -> str:
    return _BLOCKS + block_id


@dataclass(frozen=True, slots=True)
class RecordedSnapshot:
    """A snapshot as it lay in Redis, and the session that it is of."""

    path: Path
    facts: Mapping[str, Any]
    head: bytes
    blocks: Mapping[str, bytes]

    @property
    def name(self) -> str:
        return f"{self.path.parents[1].name}-{self.path.stem}"

    @property
    def session(self) -> str:
        return str(self.facts["session"])


def recorded_snapshots() -> Iterator[RecordedSnapshot]:
    """All of them, of every release."""
    for path in sorted(RELEASES.glob("*/snapshots/*.zip")):
        with zipfile.ZipFile(path) as archive:
            blocks = {name.removeprefix(_BLOCKS): archive.read(name) for name in archive.namelist() if "/" in name}
            yield RecordedSnapshot(path, json.loads(archive.read(FACTS)), archive.read(HEAD), blocks)
