"""The sessions' figures on one board in Redis: gateways write what they measure, the operator reads it for `status`.

One hash per gateway (session -> figures), replaced as a whole and with a time to live, so that a gateway that is gone
leaves nothing behind. Figures are for people: nothing is decided by them, and a lost board is only empty for a while.
A field that a gateway of another release does not know has its default.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from genlock_core.claims.keys import PREFIX
from genlock_core.claims.lua import decoded
from genlock_core.store import Store

logger = logging.getLogger(__name__)

POST_EVERY_S = 10.0
"""How often a gateway writes."""
KEPT_S = 45
MAX_SESSIONS = 10_000
"""Figures that a gateway posts at once; sessions beyond are left out."""


@dataclass(frozen=True, slots=True)
class PostedFigures:
    """What one gateway knows of a session that is served through it."""

    viewers: int = 0
    publisher: bool = False
    steps: int = 0
    """Denoising steps in use; 0: not known."""
    frame_rate: float | None = None
    """Frames per second that it runs at; None: not known."""
    output_fps: float = 0.0
    miss_share: float = 0.0
    late_share: float | None = None
    """Of the last pictures, while the session is too slow (`slo.slowness`); None while it is not, or nobody says."""
    miss_share_short: float | None = None
    miss_share_long: float | None = None
    """Over the two windows by which a miss budget is judged (`slo.burn`); None while nobody can say."""
    first_frame_ms: float | None = None
    latency_ms: float | None = None
    """Median."""
    freezes: int = 0
    last_recovery_gap_ms: float | None = None
    trouble: str = ""
    """A word of `media.Trouble`, or one of a newer release; "" while the publication makes pictures."""
    snapshot_short: bool = False
    """Its newest snapshot is not stored for want of room."""
    continuous_play_ratio: float | None = None
    time_to_first_chunk_ms: float | None = None
    real_time_factor: float | None = None
    picture_age_p50_ms: float | None = None
    picture_age_p95_ms: float | None = None
    """The service levels of `slo.continuity`; None: not known, or not here."""


class FigureBoard:
    """Both sides of the board. All methods raise `redis.exceptions.RedisError` when Redis is away."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def post(self, gateway: str, figures: Mapping[str, PostedFigures]) -> None:
        """Replace what this gateway says; an empty mapping takes it away."""
        key = _board(gateway)
        entries = {session: json.dumps(asdict(one)) for session, one in list(figures.items())[:MAX_SESSIONS]}
        async with self._store.pipeline(transaction=True) as pipeline:
            pipeline.delete(key)
            if entries:
                pipeline.hset(key, mapping=cast("Any", entries))
                pipeline.expire(key, KEPT_S)
                pipeline.sadd(_BOARDS, gateway)
            else:
                pipeline.srem(_BOARDS, gateway)
            await cast("Any", pipeline.execute())

    async def read(self) -> dict[str, PostedFigures]:
        """Every session's figures, over all gateways: viewers add up, the rest is that of the gateway that publishes
        the session, else of the one with the most viewers."""
        merged: dict[str, PostedFigures] = {}
        for gateway in sorted(decoded(list(await cast("Any", self._store.smembers(_BOARDS))))):
            entries = await cast("Any", self._store.hgetall(_board(gateway)))
            if not entries:
                await cast("Any", self._store.srem(_BOARDS, gateway))
            for session, text in entries.items():
                figures = _parsed(text)
                if figures is not None:
                    name = decoded(session)
                    merged[name] = _merge(merged.get(name), figures)
        return merged


_BOARDS = PREFIX + "figures"
_FIGURES = TypeAdapter(PostedFigures)


def _board(gateway: str) -> str:
    return f"{PREFIX}figures:{gateway}"


def _parsed(text: bytes | str) -> PostedFigures | None:
    """Figures of a gateway of any release: unknown fields are left out, nonsense is nothing."""
    try:
        return _FIGURES.validate_json(text)
    except ValidationError as error:
        logger.warning("figures that cannot be read: %s", error)
        return None


def _merge(first: PostedFigures | None, second: PostedFigures) -> PostedFigures:
    if first is None:
        return second
    better = max(first, second, key=lambda one: (one.publisher, one.viewers))
    other = first if better is second else second
    # What only viewers' gateways see: the publisher's need have none.
    ratio = better.continuous_play_ratio
    whole = asdict(better) | {
        "continuous_play_ratio": other.continuous_play_ratio if ratio is None else ratio,
        "viewers": first.viewers + second.viewers,
        "publisher": first.publisher or second.publisher,
        "freezes": max(first.freezes, second.freezes),
    }
    return PostedFigures(**whole)
