"""The records of the sessions that are planned, as they were read last: read again when something happened to them."""

import logging
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from genlock_core.claims.claims import Claims
from genlock_core.claims.record import SessionRecord

logger = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 500
"""Records that something happened to and that are read again at once; the others come next."""
READ_AGAIN: Final = 100
"""Records that are read again in each beat, in turn: events are hints, and may be missed."""


class RecordShelf:
    """`heard` is told what happened to whom; `renew` reads those again, `of` gives what is known or is read now."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._records: dict[str, SessionRecord] = {}
        """The one that was read longest ago comes first."""
        self._old: set[str] = set()
        """Sessions that something happened to since they were read."""
        self._unreadable: set[str] = set()

    def heard(self, session: str) -> None:
        """Something happened to the session."""
        self._old.add(session)

    @property
    def has_old(self) -> bool:
        """Whether there is more to read again."""
        return bool(self._old)

    def clear(self) -> None:
        """Everything may have changed."""
        self._records.clear()
        self._old.clear()
        self._unreadable.clear()

    def keep(self, sessions: Collection[str]) -> None:
        """The others are not planned any more."""
        wanted = set(sessions)
        self._records = {name: record for name, record in self._records.items() if name in wanted}
        self._old &= wanted
        self._unreadable &= wanted

    async def renew(self, *, also_longest_ago: bool) -> list[str]:
        """Read again what is old, and with `also_longest_ago` some of the others. The sessions for which that makes a
        difference to a plan. Raises RedisError."""
        self._old &= self._records.keys() | self._unreadable
        names = dict.fromkeys(list(self._old)[:MOST_AT_ONCE])
        if also_longest_ago:
            names |= dict.fromkeys(list(self._records)[:READ_AGAIN])

        # What happens while they are read is read again the next time.
        self._old -= names.keys()
        try:
            found = await self._read(list(names))
        except BaseException:
            self._old |= names.keys()
            raise
        before = {name: self._records.pop(name, None) for name in names}
        self._records |= found
        self._unreadable -= found.keys()
        return [name for name, record in before.items() if matter_of(record) != matter_of(found.get(name))]

    async def of(self, sessions: Iterable[str]) -> dict[str, SessionRecord]:
        """The records of these sessions; without those that are gone, or that this release cannot read.

        Raises RedisError.
        """
        names = list(sessions)
        missing = [name for name in names if name not in self._records and name not in self._unreadable]
        self._records |= await self._read(missing)
        return {name: self._records[name] for name in names if name in self._records}

    def known(self, sessions: Iterable[str]) -> list[SessionRecord]:
        """The records of those that were read already."""
        return [self._records[name] for name in sessions if name in self._records]

    async def _read(self, names: Sequence[str]) -> dict[str, SessionRecord]:
        if not names:
            return {}
        try:
            return await self._claims.records_of(names)
        except (KeyError, ValueError):
            return await self._one_by_one(names)

    async def _one_by_one(self, names: Sequence[str]) -> dict[str, SessionRecord]:
        """One of them is of a later release, or damaged: the others must not suffer by it."""
        found: dict[str, SessionRecord] = {}
        for name in names:
            try:
                found |= await self._claims.records_of([name])
            except (KeyError, ValueError) as error:
                if name not in self._unreadable:
                    logger.warning("%s: its record cannot be read, its level stays: %s", name, type(error).__name__)
                self._unreadable.add(name)
        return found


def matter_of(record: SessionRecord | None) -> object:
    """All of a record that a plan goes by."""
    if record is None:
        return None
    return (
        record.pools,
        record.requested_steps,
        record.epoch,
        record.owner,
        record.cost,
        record.granted,
        record.limit,
        record.below_since_ms,
        record.finished,
    )
