"""The kinds of harm: a function does each, returns when it is over, and says which streams it hit.

What heals by itself is not healed. `HARMS` is the catalogue.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bench.chaos.harms import processes, store, surroundings
from bench.chaos.stage import Stage


@dataclass(frozen=True, slots=True)
class Harm:
    """One kind. `row` is what the fault table of docs/design.md calls it."""

    name: str
    row: str
    strike: Callable[[Stage], Awaitable[list[str]]]
    moves: bool = False
    """A session may change its worker for it."""
    is_kill: bool = False
    """It may be drawn at random."""
    relayed: bool = False
    """The connections have to pass a relay."""
    needs_clock: bool = False
    """The clock of Redis has to step, which takes a C compiler."""


HARMS: Final[Mapping[str, Harm]] = {
    harm.name: harm
    for harm in (
        Harm("worker-killed", "worker process", processes.worker_killed, moves=True, is_kill=True),
        Harm("worker-hangs", "worker hangs, its engine hangs", processes.worker_hangs, moves=True, is_kill=True),
        Harm("worker-drained", "node: cordoned, drained", processes.worker_drained, moves=True, is_kill=True),
        Harm("workers-killed", "all workers at once", processes.workers_killed, moves=True, is_kill=True),
        Harm("gateway-killed", "gateway", processes.gateway_killed, is_kill=True),
        Harm("gateway-drained", "gateway", processes.gateway_drained, is_kill=True),
        Harm("publisher-killed", "publisher, without a goodbye", processes.publisher_killed, is_kill=True),
        Harm("redis-restarted", "Redis restarts, keeps its data", store.restarted, is_kill=True),
        Harm("redis-lost", "Redis loses its data", store.lost_all, is_kill=True),
        Harm("redis-full", "Redis is full", store.full),
        Harm("redis-read-only", "Redis is a replica, and read-only", store.read_only),
        Harm("redis-refuses", "Redis refuses writes", store.refuses),
        Harm("redis-stalled", "Redis stands still", store.stalled),
        Harm("redis-clock-forward", "Redis' clock steps by a minute", store.clock_forward, needs_clock=True),
        Harm("redis-clock-back", "Redis' clock steps by a minute", store.clock_back, needs_clock=True),
        Harm("redis-promoted", "a replica with another clock takes over", store.promoted, needs_clock=True),
        Harm("snapshots-full", "snapshots reach their budget", store.snapshots_full),
        Harm("slow-machine", "the machine is slow", surroundings.slow_machine, moves=True),
        Harm("half-requests", "strangers hold connections", surroundings.half_requests),
        Harm("few-descriptors", "descriptors are used up", surroundings.few_descriptors),
        Harm("slow-viewers", "a viewer stands still", surroundings.slow_viewers),
        Harm("link-vanishes", "a link is half open", surroundings.link_vanishes, moves=True, relayed=True),
        Harm(
            "gateway-redis-vanishes",
            "a connection to Redis is half open",
            surroundings.gateways_redis_vanishes,
            relayed=True,
        ),
        Harm(
            "worker-redis-vanishes",
            "a connection to Redis is half open",
            surroundings.workers_redis_vanishes,
            moves=True,
            relayed=True,
        ),
    )
}
