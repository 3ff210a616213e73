"""What a decoder's process may not do: outlive its parent, take much memory, open anything, start anything, dump core.

This bounds faults of a decoder. It is no sandbox for code that somebody else runs in it: that code has the worker's
user, and the kernel's calls (docs/security.md says so).
"""

import ctypes
import os
import resource
import signal
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_STATM: Final = Path("/proc/self/statm")
_OOM_SCORE: Final = Path("/proc/self/oom_score_adj")
_FIRST_TO_GO: Final = "1000"
_MEMBERSHIPS: Final = Path("/proc/self/cgroup")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_VERSION_2: Final = "0::/"
"""Begins the line of `_MEMBERSHIPS` that names the own cgroup, as seen from the container."""


def address_space() -> int:
    """Bytes of address space that this process has now."""
    return int(_STATM.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent (a pid) dies. The parent must have one thread.

    Raises OSError; ProcessLookupError if the parent is gone already.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError("the parent is gone")


def goes_alone() -> bool:
    """Whether the kernel, where memory is short, kills this process only, and not all that its container has.

    Kubernetes has whole containers killed since 1.28, unless the kubelet says `singleProcessOOMKill: true`.
    """
    memberships = _MEMBERSHIPS.read_text(errors="surrogateescape").splitlines()
    own = next((line.removeprefix(_VERSION_2) for line in memberships if line.startswith(_VERSION_2)), None)
    if own is None:
        return True
    try:
        return (_CGROUPS / own / "memory.oom.group").read_text().strip() == "0"
    except FileNotFoundError:
        return True
    except OSError:
        return False


def confine(*, address_space_bytes: int, file_bytes: int) -> None:
    """Let this process have at most so much address space, and files that it has already, of at most that size.

    A limit that is reached is an error where it is reached: memory or a descriptor is refused. Raises OSError.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    # Where no memory is left, the kernel is to take this process and not the worker. Where it takes all of a container
    # at once, that would only have the worker killed before other containers.
    if goes_alone():
        _OOM_SCORE.write_text(_FIRST_TO_GO)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for what, most in (
        (resource.RLIMIT_AS, address_space_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
        # No process and no thread (the kernel lets root have them all the same).
        (resource.RLIMIT_NPROC, 0),
        # No file, no socket, no pipe. A call that waits with a timeout (poll) is refused as well.
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(what, (most, most))


def close_others(*kept: int) -> None:
    """Close every descriptor that came with the fork, the standard ones excepted."""
    start = 3
    for descriptor in sorted(kept):
        os.closerange(start, descriptor)
        start = descriptor + 1
    os.closerange(start, os.sysconf("SC_OPEN_MAX"))


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
