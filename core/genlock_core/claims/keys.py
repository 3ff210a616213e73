"""The names of the control plane's keys: all share the tag `{genlock}`, so that every script stays within one slot."""

from typing import Final

PREFIX: Final = "genlock:{genlock}:"
"""Every script gets this as its only key: a Redis Cluster routes by the tag, and the script builds the full names."""

CLOCK: Final = PREFIX + "clock"
EVENTS: Final = PREFIX + "events"
GUARD: Final = PREFIX + "guard"
SESSIONS: Final = PREFIX + "sessions"
SNAPSHOT_BUDGET: Final = PREFIX + "snapshots:budget"


def inbox(worker: str) -> str:
    """The stream of assignments and withdrawals for the worker of that name."""
    return f"{PREFIX}worker:{worker}:inbox"


def record(session: str) -> str:
    """The hash with the record of session `namespace/name`."""
    return f"{PREFIX}session:{session}"


def pool_settings(pool: str) -> str:
    """The hash with a pool's settings: `reserve`, in thousandths of a worker."""
    return f"{PREFIX}pool:{pool}:settings"


def pool_counts(pool: str) -> str:
    """The hash with what has happened to a pool's sessions: `arrivals`, `departures`, `blocked`, `relieved`."""
    return f"{PREFIX}pool:{pool}:counts"
