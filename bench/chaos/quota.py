"""A share of the processor that processes have in all, where the kernel lets us set one (cgroups v1 or v2)."""

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PERIOD_US = 50_000
ROOT = Path("/sys/fs/cgroup")


class NoQuota(Exception):
    """No quota can be set here; the message says why."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where groups are made: `is_v2` has the one hierarchy, else it is that of the processor alone."""

    root: Path
    is_v2: bool

    @classmethod
    def found(cls, root: Path = ROOT) -> "Hierarchy":
        """Raises NoQuota."""
        if (root / "cgroup.controllers").exists():
            if "cpu" not in (root / "cgroup.controllers").read_text().split():
                raise NoQuota(f"{root} does not control the processor")
            return cls(root, is_v2=True)
        if (root / "cpu" / "cpu.cfs_quota_us").exists() or (root / "cpu" / "cgroup.procs").exists():
            return cls(root / "cpu", is_v2=False)
        raise NoQuota(f"there is no cgroup of the processor at {root}")

    def limit(self, group: Path, share: float) -> None:
        """Let the group have that many cores in all."""
        quota_us = int(share * PERIOD_US)
        if self.is_v2:
            (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))


@contextlib.contextmanager
def quota(pids: Iterable[int], share: float) -> Iterator[None]:
    """These processes, and what they start, have `share` cores in all until the block ends. Raises NoQuota."""
    hierarchy = Hierarchy.found()
    group = hierarchy.root / f"genlock-bench-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        group.mkdir()
        try:
            hierarchy.limit(group, share)
            _join(group, pids)
        except OSError:
            _dissolve(hierarchy, group)
            raise
    except OSError as error:
        raise NoQuota(f"no quota can be set: {error}") from error
    try:
        yield
    finally:
        _dissolve(hierarchy, group)


def _join(group: Path, pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            (group / "cgroup.procs").write_text(str(pid))


def _dissolve(hierarchy: Hierarchy, group: Path) -> None:
    """Its processes go back to where all are."""
    if group.exists():
        _join(hierarchy.root, map(int, (group / "cgroup.procs").read_text().split()))
        group.rmdir()
