"""What a request costs whoever makes it, by its kind. Pure: nothing but method and path is looked at.

The unit is a session that is shown from memory, about a millisecond. What only looks (GET, HEAD) has a bucket of its
own, so that whoever only looks takes nothing from those who publish, watch and steer. The costs of looking are about
those of the work: a list shows many sessions, a session URL may be asked of another gateway. Files from memory cost no
more than a refusal would, and probes are never refused.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Purpose(StrEnum):
    """Which bucket pays."""

    NOTHING = "nothing"
    """None: it is answered always."""
    LOOK = "look"
    CHANGE = "change"
    """Whatever lets somebody in, ends or changes something."""


@dataclass(frozen=True, slots=True)
class Cost:
    """`units` of the bucket for `purpose`; `session` is the one (`namespace/name`) that the path names."""

    purpose: Purpose
    units: float
    session: str | None


LOOKS: Final[tuple[tuple[str, float], ...]] = (
    (r"/api/v1/sessions/?", 10),
    (r"/api/v1/sessions/[^/]+/[^/]+/events", 5),
    (r"/api/v1/sessions/[^/]+/[^/]+/preview\.jpg", 2),
    (r"/wh[ie]p/[^/]+/[^/]+/[^/]+/.+", 5),
    (r"/api/v1/pools/?", 10),
    (r"/api/v1/pools/.+", 5),
    (r"/metrics", 10),
)
"""Paths whose GET costs something else than one unit."""
FREE: Final = re.compile(
    r"/|/docs|/model|/situations\.js|/studio/[^/]+/[^/]+|/assets/.*|/healthz|/readyz", re.ASCII | re.DOTALL
)
"""Files and probes."""

_LOOKS: Final[tuple[tuple[Callable[[str], re.Match[str] | None], float], ...]] = tuple(
    (re.compile(pattern, re.DOTALL).fullmatch, units) for pattern, units in LOOKS
)
_SESSION: Final = re.compile(r"/(?:whip|whep|watch|api/v1/sessions)/([^/]+/[^/]+)(?:/.*)?", re.DOTALL)


def cost_of(method: str, path: str) -> Cost:
    """What a request costs. A path that nobody serves costs as much as one that is."""
    named = _SESSION.fullmatch(path)
    session = None if named is None else named[1]
    if method == "OPTIONS" or (method in ("GET", "HEAD") and FREE.fullmatch(path)):
        return Cost(Purpose.NOTHING, 0, session)
    if method not in ("GET", "HEAD"):
        return Cost(Purpose.CHANGE, 1, session)
    return Cost(Purpose.LOOK, next((units for matches, units in _LOOKS if matches(path)), 1), session)
