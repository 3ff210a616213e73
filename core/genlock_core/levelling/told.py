"""What is told of each pool, in Redis: whoever decides writes it, gateways read it for people, operators for KEDA.

Genlock decides nothing by it. It has parts, each with one writer: how the levels stand, and how the number of workers
comes about.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from genlock_core.claims.lua import Scripts
from genlock_core.levelling.scaling import ScalingTold
from genlock_core.levelling.telling import LevelsTold
from genlock_core.store import Store

logger = logging.getLogger(__name__)

HOLDS_MS: Final = 30_000
"""For so long, in proven time, it is what the pool is like: who leads tells it again sooner."""
MOST_BYTES: Final = 128_000
"""Of one part."""


class PoolPart(StrEnum):
    """What there is to tell of a pool."""

    LEVELS = "levels"
    AUTOSCALING = "autoscaling"


class ToldPools:
    """Both sides. All methods raise `redis.exceptions.RedisError` when Redis is away."""

    def __init__(self, store: Store, *, now_ms: Callable[[], int] | None = None) -> None:
        self._scripts = Scripts(store, now_ms=now_ms)

    async def tell_levels(self, pool: str, told: LevelsTold) -> None:
        """Replace what was told of the pool's levels."""
        await self.tell(pool, PoolPart.LEVELS, asdict(told))

    async def levels(self, pool: str) -> LevelsTold | None:
        """How the levels of the pool stand; None where nobody decides, or it was told by a release that says it
        otherwise."""
        return _read(_LEVELS, pool, await self.told(pool, PoolPart.LEVELS))

    async def tell_scaling(self, pool: str, told: ScalingTold) -> None:
        """Replace what was told of the pool's number of workers."""
        await self.tell(pool, PoolPart.AUTOSCALING, asdict(told))

    async def scaling(self, pool: str) -> ScalingTold | None:
        """How the number of workers comes about; None as of `levels`."""
        return _read(_SCALING, pool, await self.told(pool, PoolPart.AUTOSCALING))

    async def tell(self, pool: str, part: PoolPart, told: Mapping[str, Any]) -> None:
        """Replace one part. Raises ValueError for one that is too large: whoever tells it bounds it."""
        text = json.dumps(told, ensure_ascii=False)
        if len(text.encode()) > MOST_BYTES:
            raise ValueError(f"what is told of {pool} takes more than {MOST_BYTES} bytes")
        await self._scripts.run("tell_pool", pool, part.value, text, HOLDS_MS)

    async def told(self, pool: str, part: PoolPart) -> dict[str, Any] | None:
        """One part as it was told; None where nobody tells it any more."""
        reply = await self._scripts.run("told_of_pool", pool, part.value)
        found = json.loads(reply[0]) if reply else None
        return found if isinstance(found, dict) else None


T = TypeVar("T")

_LEVELS = TypeAdapter(LevelsTold)
_SCALING = TypeAdapter(ScalingTold)


def _read(kind: TypeAdapter[T], pool: str, found: Mapping[str, Any] | None) -> T | None:
    """None for what is not there, and for what a release told that says it otherwise."""
    if found is None:
        return None
    try:
        return kind.validate_python(found)
    except ValidationError as error:
        logger.debug("what is told of %s cannot be read: %s", pool, error)
        return None
