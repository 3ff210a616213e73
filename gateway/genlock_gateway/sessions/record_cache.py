"""Sessions' records for whoever asks over HTTP: kept while the events say that nothing has changed.

Strangers ask as often as they like, so a question about a session costs no round trip to Redis. A record is kept for
`MAX_AGE_S` at most, and only while this gateway follows the events closely: each event drops the record that it is
about. So what is shown is behind Redis by the time that an event takes, and by `MAX_AGE_S` if one was missed.

Nobody is let in by a kept record: whoever publishes, watches, listens or steers is judged by `fresh`.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from genlock_core.claims.claims import Claims
from genlock_core.claims.facts import Event, EventKind
from genlock_core.claims.record import SessionRecord
from genlock_core.clock import Clock
from genlock_core.metrics import GatewayMetrics
from genlock_gateway.sessions.shared_reads import SharedReads

MAX_RECORDS: Final = 4_096
MAX_AGE_S: Final = 2.0
"""What has no event (the orientation that a publication settled) is seen after this time at the latest."""
FOLLOWED_S: Final = 1.0
"""The events are followed while the last look at them is not older; it is made twice a second, or as they come."""


@dataclass(frozen=True, slots=True)
class _Kept:
    record: SessionRecord
    read_s: float


class RecordCache:
    """`recent` and `all` for what is shown, `fresh` to judge by. Told of events by whoever follows them.

    All that reads raises RedisError, StoreBusy.
    """

    def __init__(self, claims: Claims, clock: Clock, metrics: GatewayMetrics) -> None:
        self._claims = claims
        self._clock = clock
        self._metrics = metrics
        # The one that was kept first goes first.
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._names: tuple[frozenset[str], float] | None = None
        """All sessions, and when they were read."""
        self._followed_s = float("-inf")
        self._changes = 0
        """Grows with every event: what was read while one came may be from before it, and is not kept."""
        self._reads: SharedReads[SessionRecord | None] = SharedReads()
        self._lists: SharedReads[list[SessionRecord]] = SharedReads()

    # -- questions --------------------------------------------------------------------------------------------------

    async def recent(self, session: str) -> SessionRecord | None:
        """The record as it was a moment ago; None if there is no such session."""
        kept = self._of(session)
        self._count(kept=kept is not None)
        return kept or await self._reads.get(session, lambda: self._read(session))

    async def fresh(self, session: str) -> SessionRecord | None:
        """The record as it is now."""
        self._count(kept=False)
        return await self._reads.get(session, lambda: self._read(session))

    async def all(self) -> list[SessionRecord]:
        """All records, by name, as they were a moment ago."""
        names = self._kept_names()
        if names is not None:
            kept = [record for name in sorted(names) if (record := self._of(name)) is not None]
            if len(kept) == len(names):
                self._count(kept=True)
                return kept
        self._count(kept=False)
        return await self._lists.get("all", self._read_all)

    async def end(self) -> None:
        """Nobody asks any more."""
        await self._reads.end()
        await self._lists.end()

    # -- events -----------------------------------------------------------------------------------------------------

    def happened(self, event: Event) -> None:
        """Something has happened to a session."""
        self.drop(event.session)
        if event.kind in (EventKind.CREATED, EventKind.FORGOTTEN):
            self._names = None

    def drop(self, session: str) -> None:
        """The session's record has changed."""
        self._changes += 1
        self._kept.pop(session, None)

    def followed(self) -> None:
        """All events up to now have been told."""
        if not self._follows:
            self._changes += 1  # a read that is under way began before, and may have missed one
        self._followed_s = self._clock.monotonic()

    def lost_track(self) -> None:
        """Events may have been missed: nothing that was read before counts."""
        self._changes += 1
        self._followed_s = float("-inf")
        self._kept.clear()
        self._names = None

    # -- within -----------------------------------------------------------------------------------------------------

    @property
    def _follows(self) -> bool:
        return self._clock.monotonic() - self._followed_s <= FOLLOWED_S

    def _young(self, read_s: float) -> bool:
        return self._follows and self._clock.monotonic() - read_s <= MAX_AGE_S

    def _of(self, session: str) -> SessionRecord | None:
        kept = self._kept.get(session)
        return kept.record if kept is not None and self._young(kept.read_s) else None

    def _kept_names(self) -> frozenset[str] | None:
        return self._names[0] if self._names is not None and self._young(self._names[1]) else None

    async def _read(self, session: str) -> SessionRecord | None:
        before, began_s = self._changes, self._clock.monotonic()
        record = await self._claims.record(session)
        if record is None:
            self._kept.pop(session, None)
        elif self._may_keep(before):
            self._keep(record, began_s)
        return record

    async def _read_all(self) -> list[SessionRecord]:
        before, began_s = self._changes, self._clock.monotonic()
        names = frozenset(await self._claims.sessions())
        records = {name: record for name in names if (record := self._of(name)) is not None}
        read = await self._claims.records_of(sorted(names - records.keys()))

        if self._may_keep(before):
            for record in read.values():
                self._keep(record, began_s)
            # A name without a record is that of a session that goes just now.
            self._names = frozenset(records.keys() | read.keys()), began_s
        records |= read
        return [records[name] for name in sorted(records)]

    def _may_keep(self, changes_before: int) -> bool:
        return self._follows and self._changes == changes_before

    def _keep(self, record: SessionRecord, read_s: float) -> None:
        self._kept.pop(record.name, None)
        if len(self._kept) >= MAX_RECORDS:
            self._kept.popitem(last=False)
        self._kept[record.name] = _Kept(record, read_s)

    def _count(self, *, kept: bool) -> None:
        self._metrics.record_reads.labels(result="kept" if kept else "read").inc()
