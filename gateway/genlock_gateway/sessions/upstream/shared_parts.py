"""What every live session of this gateway shares; made by `gateway`, passed down."""

import random
from dataclasses import dataclass

from genlock_core.claims.claims import Claims
from genlock_core.clock import Clock
from genlock_core.metrics import GatewayMetrics
from genlock_gateway.sessions.upstream.links import Links


@dataclass(frozen=True, slots=True)
class SharedParts:
    """The parts that a live session uses and does not own."""

    gateway: str
    claims: Claims
    links: Links
    clock: Clock
    metrics: GatewayMetrics
    jitter: random.Random
    may_start_again: bool
    """Gateways bring an ended session back; on a cluster its resource decides."""
