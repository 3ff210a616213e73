"""How a pool's number of workers comes about, told for people.

The operator writes it; gateways and the command read it, so they need no Kubernetes.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScalingTold:
    """What autoscaling says of a pool."""

    at_ms: int
    """When, by the clock of who says so."""
    mode: str
    desired: int
    """Workers."""
    reason: str
    """The term that decides, as in the pool's status."""
    terms: Mapping[str, int | None]
    """Workers by term, as in the metrics; None where there is no such bound."""
    speed: float
    """Of the pool's workers over what was profiled, as far as it is believed; what sessions pay is divided by it."""
    sentences: tuple[str, ...]
