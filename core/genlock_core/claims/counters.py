"""What has been counted so far, for whoever decides how many workers there are: by each worker, and of each pool.

All of it only grows, so whoever reads it twice knows what happened between, however often it was read, and by whom. A
count that is lower than before was begun anew: its process or its Redis restarted, and what it says now is what has
happened since (`risen`).

A worker posts its own page every `POST_EVERY_S`, with a time to live. What happens to a pool's sessions is counted by
the scripts of `claims`, in the same step.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, cast

from pydantic import Field, TypeAdapter, ValidationError

from genlock_core.claims import keys
from genlock_core.claims.lua import decoded
from genlock_core.store import Store

logger = logging.getLogger(__name__)

POST_EVERY_S: Final = 10.0
"""How often a worker writes its page."""
KEPT_S: Final = 300
"""A worker's page is gone so long after it was written. Until then its age is told (`WorkerCounters.age_s`)."""
MAX_COSTS: Final = 16
"""Shapes on one page; those that were seen least are left out."""
MAX_PAGE_BYTES: Final = 16 * 1024
"""A longer page was not written by a worker: it is not read."""

_Count = Annotated[int, Field(ge=0)]
_Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def risen(before: int, after: int) -> int:
    """What was counted between two readings; of a count that went back, what was counted since it began anew."""
    return after - before if after >= before else after


@dataclass(frozen=True, slots=True)
class PoolCounters:
    """What has happened to the sessions of a pool."""

    arrivals: _Count = 0
    """Sessions that had no worker before, and got one of this pool."""
    departures: _Count = 0
    """Sessions that had one, and ended."""
    blocked: _Count = 0
    """Sessions that had no worker before, and found no room when they asked first."""
    relieved: _Count = 0
    """Of those, the ones that have got a worker since."""

    def since(self, before: "PoolCounters") -> "PoolCounters":
        """What has happened since an earlier reading."""
        return PoolCounters(
            arrivals=risen(before.arrivals, self.arrivals),
            departures=risen(before.departures, self.departures),
            blocked=risen(before.blocked, self.blocked),
            relieved=risen(before.relieved, self.relieved),
        )


@dataclass(frozen=True, slots=True)
class CostShape:
    """Of which batches a cost is."""

    model: str
    width: _Count
    """Of the pictures, in pixels, as `height`."""
    height: _Count


@dataclass(frozen=True, slots=True)
class LearnedCost:
    """What batches of one shape take on this worker, as it has learned, and what its profile promised.

    A batch of `rows` rows (session x denoising step) takes `base_s + row_s * rows`, and each chunk `chunk_s` beside its
    rows. How many steps a session has is no part of the shape: a row costs the same in each of them.
    """

    shape: CostShape
    base_s: _Seconds
    row_s: _Seconds
    weight: _Number
    """So many of the last batches speak in it: 0 to about 33. Below 10 or so the profile still speaks with them."""
    chunk_s: _Seconds = 0.0
    """What a chunk takes beside its rows: encoding its pictures and decoding them."""
    rows: _Number = 1.0
    """Of a batch, on average, lately."""
    chunks: _Number = 1.0
    """That begin with a batch, on average, lately."""
    promised_base_s: _Seconds | None = None
    """By the profile's rows of this size; there it is all in the rows. None: not profiled, as `promised_row_s`."""
    promised_row_s: _Seconds | None = None

    @property
    def speed(self) -> float | None:
        """How fast batches like the last ones are: 1 is as promised, less is slower; None without a promise."""
        if self.promised_base_s is None or self.promised_row_s is None:
            return None
        learned_s = self.base_s + self.row_s * self.rows + self.chunk_s * self.chunks
        promised_s = self.promised_base_s + self.promised_row_s * self.rows
        return promised_s / learned_s if learned_s > 0 and promised_s > 0 else None


@dataclass(frozen=True, slots=True)
class WorkerCounters:
    """One worker's page."""

    worker: str
    incarnation: str
    """Another one counts from 0."""
    pool: str
    frames: _Count = 0
    """Generated frames that were sent, of all sessions."""
    late: _Count = 0
    """Of those, sent after their due time. It runs from when the worker had the chunk's last frame: a publisher's
    network and viewers have no part in it."""
    costs: tuple[LearnedCost, ...] = ()
    age_s: float = 0.0
    """How long ago the page was written, by Redis' clock."""

    def since(self, before: "WorkerCounters | None") -> tuple[int, int]:
        """Frames and late frames since an earlier page of the same name."""
        if before is None or before.incarnation != self.incarnation:
            return self.frames, self.late
        return risen(before.frames, self.frames), risen(before.late, self.late)


class CounterBoard:
    """Both sides of it. All methods raise `redis.exceptions.RedisError` when Redis is away."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def post(self, page: WorkerCounters) -> None:
        """Replace this worker's page."""
        heaviest = sorted(page.costs, key=lambda cost: -cost.weight)[:MAX_COSTS]
        said = asdict(page) | {"costs": [asdict(cost) for cost in heaviest]}
        del said["age_s"]
        async with self._store.pipeline(transaction=True) as pipeline:
            pipeline.set(_page(page.worker), json.dumps(said), ex=KEPT_S)
            pipeline.sadd(_WORKERS, page.worker)
            await cast("Any", pipeline.execute())

    async def workers(self) -> dict[str, WorkerCounters]:
        """The pages by worker's name. One that cannot be read is left out."""
        names = sorted(decoded(list(await cast("Any", self._store.smembers(_WORKERS)))))
        if not names:
            return {}

        async with self._store.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.getrange(_page(name), 0, MAX_PAGE_BYTES)
                pipeline.pttl(_page(name))
            answers = await cast("Any", pipeline.execute())

        pages: dict[str, WorkerCounters] = {}
        for name, text, left_ms in zip(names, answers[::2], answers[1::2], strict=True):
            if not text:
                await cast("Any", self._store.srem(_WORKERS, name))
            elif (page := _parsed(text, age_s=max(0.0, KEPT_S - left_ms / 1_000))) is not None:
                pages[name] = page
        return pages

    async def pools(self, names: Iterable[str]) -> dict[str, PoolCounters]:
        """The counts of these pools, all 0 where nothing has happened yet; one that cannot be read is left out."""
        asked = list(names)
        if not asked:
            return {}
        async with self._store.pipeline(transaction=False) as pipeline:
            for name in asked:
                pipeline.hgetall(keys.pool_counts(name))
            answers = await cast("Any", pipeline.execute())
        counted = {name: _counted(fields) for name, fields in zip(asked, answers, strict=True)}
        return {name: counts for name, counts in counted.items() if counts is not None}


_WORKERS = keys.PREFIX + "counts:workers"
_PAGE = TypeAdapter(WorkerCounters)
_POOL = TypeAdapter(PoolCounters)


def _page(worker: str) -> str:
    return f"{keys.PREFIX}counts:worker:{worker}"


def _parsed(text: bytes | str, *, age_s: float) -> WorkerCounters | None:
    """A page of a worker of any release: unknown fields are left out, nonsense is nothing."""
    try:
        page = _PAGE.validate_json(text)
    except ValidationError as error:
        logger.warning("a worker's counters cannot be read: %s", error)
        return None
    return WorkerCounters(
        worker=page.worker,
        incarnation=page.incarnation,
        pool=page.pool,
        frames=page.frames,
        late=page.late,
        costs=page.costs[:MAX_COSTS],
        age_s=age_s,
    )


def _counted(fields: Mapping[Any, Any]) -> PoolCounters | None:
    """Not 0 where it cannot be read: once it can be again, all of it would have happened between two readings."""
    try:
        return _POOL.validate_python({decoded(name): decoded(value) for name, value in fields.items()})
    except ValidationError as error:
        logger.warning("a pool's counters cannot be read: %s", error)
        return None
