"""What of this repository is packed, and which commit it is. Standard library alone."""

import json
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

DIFFUSION_TESTS = "tests/worker/engines/diffusion"
SOURCES = (
    "core/genlock_core",
    "worker/genlock_worker",
    "bench",
    f"{DIFFUSION_TESTS}/golden",
    f"{DIFFUSION_TESTS}/recorded.py",
    f"{DIFFUSION_TESTS}/recorded_vae.py",
    f"{DIFFUSION_TESTS}/repeated_capture.py",
    f"{DIFFUSION_TESTS}/static_ring_ops.py",
    f"{DIFFUSION_TESTS}/sync_check.py",
)
"""Folders and files; of a folder, what git knows or would add."""
COMMIT = "commit.json"


@dataclass(frozen=True, slots=True)
class Commit:
    """Which sources they are."""

    sha: str
    changed: bool
    """Whether the working tree differed from that commit."""

    def __str__(self) -> str:
        return f"{self.sha[:12]}{' with changes' if self.changed else ''}"


def files_of(root: Path) -> list[str]:
    """The files that are packed, relative to the repository's root."""
    listed = _git(root, "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *SOURCES)
    return sorted(name for name in set(listed.split("\0")) if name and (root / name).is_file())


def commit_of(root: Path) -> Commit:
    """The commit of a working tree."""
    return Commit(_git(root, "rev-parse", "HEAD").strip(), bool(_git(root, "status", "--porcelain").strip()))


def copy(root: Path, target: Path) -> int:
    """Copy the sources into a folder that is made anew, with their commit; how many files."""
    shutil.rmtree(target, ignore_errors=True)
    names = files_of(root)
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, target / name)
    (target / COMMIT).write_text(json.dumps(asdict(commit_of(root))), encoding="utf-8")
    return len(names)


def packed_commit(folder: Path) -> Commit | None:
    """The commit of packed sources; None in a checkout."""
    try:
        return Commit(**json.loads((folder / COMMIT).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
