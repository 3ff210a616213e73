"""The publisher slots of the sessions here: who may connect, who gets the slot, and whether its holder still answers.

A contender waits at its POST, for seconds at most, while the holder's gateway asks the holder. What decides is
`HolderChecks`, which is pure; what moves a slot is one script in Redis (`claims.publisher`).
"""

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, TypeVar

from redis.exceptions import RedisError

from genlock_core.claims.facts import PublicationLost, PublisherConflict
from genlock_core.claims.liveness import PUBLISHER_CANDIDATE_MS
from genlock_core.claims.publisher import Contender, Publishers, PublisherSlot
from genlock_core.clock import Clock
from genlock_gateway.rtc.ingest.receive import IngestPeer
from genlock_gateway.sessions.audience import PeerResource
from genlock_gateway.sessions.hub import Hub
from genlock_gateway.sessions.stream import LiveStream

logger = logging.getLogger(__name__)

T = TypeVar("T")

CHECKS: Final = 3
"""So many consent checks in a row have to stay without an answer."""
CHECK_EVERY_S: Final = 0.5
QUIET_S: Final = 3.0
"""And so long must neither RTP nor RTCP have come."""
WAIT_S: Final = 4.0
"""A contender waits no longer than this at its POST: three checks, and the second until another gateway hears of it."""
ASK_EVERY_S: Final = 0.1
WAITING: Final = 2
"""So many contenders of one session may wait at this gateway; others are refused at once."""
CANDIDATE_S: Final = PUBLISHER_CANDIDATE_MS / 1_000
AGAIN_S: Final = 0.25


@dataclass(slots=True)
class HolderChecks:
    """Whether a publisher that somebody wants to replace is still there.

    One that answers is there, whether it sends or not: a still camera and a muted one answer. A hung one answers, too;
    only somebody who says so takes over from it.
    """

    unanswered: int = 0
    """Consent checks in a row that got no answer."""

    def checked(self, *, answered: bool) -> None:
        self.unanswered = 0 if answered else self.unanswered + 1

    def silent(self, *, quiet_s: float) -> bool:
        """`quiet_s`: for how long neither RTP nor RTCP has come."""
        return self.unanswered >= CHECKS and quiet_s >= QUIET_S


@dataclass(frozen=True, slots=True)
class Admission:
    """A publisher may connect; with this it gets the slot once it has."""

    contender: Contender
    run_seen: int
    """The slot has to be as it was."""
    number: int
    """Of two admissions at this gateway the newer one has the greater number."""


class PublisherSlots:
    """This gateway's part in who publishes. Methods raise RedisError and TimeoutError unless they say otherwise."""

    def __init__(
        self,
        publishers: Publishers,
        hub: Hub,
        *,
        for_contenders: Publishers,
        gateway: str,
        clock: Clock,
        store_timeout_s: float,
    ) -> None:
        """`for_contenders`: asks for those who want a slot, as many as like to.

        `store_timeout_s`: how long each question to Redis may take.
        """
        self._publishers = publishers
        self._for_contenders = for_contenders
        self._hub = hub
        self._gateway = gateway
        self._clock = clock
        self._store_timeout_s = store_timeout_s
        self._admissions = itertools.count(1)
        # Session -> contenders that wait here.
        self._waiting: Counter[str] = Counter()
        # Sessions whose holder is here and is being asked.
        self._checking: set[str] = set()

    # -- getting in -------------------------------------------------------------------------------------------------

    async def enter(self, session: str, contender: Contender) -> Admission:
        """Ask for the slot. While a holder is asked whether it is still there, this waits.

        Raises PublisherConflict, TooManyCandidates.
        """
        try:
            return await self._ask(session, contender)
        except PublisherConflict as conflict:
            if self._waiting[session] >= WAITING:
                raise
            since_ms = conflict.asked_ms

        self._waiting[session] += 1
        try:
            return await self._wait(session, contender, since_ms)
        finally:
            self._waiting[session] -= 1
            if not self._waiting[session]:
                del self._waiting[session]

    async def _wait(self, session: str, contender: Contender, since_ms: int) -> Admission:
        until_s = self._clock.monotonic() + WAIT_S
        while True:
            self._check_holder(session)
            await asyncio.sleep(ASK_EVERY_S)
            try:
                return await self._ask(session, contender, since_ms=since_ms)
            except PublisherConflict as conflict:
                if conflict.heard or self._clock.monotonic() >= until_s:
                    raise

    async def _ask(self, session: str, contender: Contender, *, since_ms: int | None = None) -> Admission:
        run_seen = await self._in_time(self._for_contenders.enter(session, contender, since_ms=since_ms))
        return Admission(contender, run_seen, next(self._admissions))

    async def promote(self, stream: LiveStream, resource: PeerResource, admission: Admission) -> None:
        """The candidate is connected: it becomes the publisher, or is told why not and closed. Raises nothing.

        While Redis is away it waits for as long as a candidate may. Whoever may get the session at the next attempt is
        told to connect again.
        """
        try:
            slot = await self._promoted(stream, admission)
        except (PublicationLost, RedisError, OSError) as error:
            reason = str(error) if isinstance(error, PublicationLost) else "the session store does not answer"
            logger.info("%s: a publisher connected and did not get the session: %s", stream.session, reason)
            if isinstance(error, PublicationLost) and error.why.to_another:
                await stream.dismiss(resource, reason)
            else:
                await stream.send_away(resource, reason)
            return

        if self._hub.resource(resource.id) is None:
            await self.leave(stream.session, resource.id)  # it went while we asked
            return

        if slot.previous is not None:
            how = "asked" if admission.contender.take_over else "unasked"
            self._hub.shared.metrics.takeovers.labels(how=how).inc()
        resource.run = slot.run
        previous = stream.enter(resource)
        if previous is not None:
            await stream.dismiss(previous, "another publication took over")

    async def _promoted(self, stream: LiveStream, admission: Admission) -> PublisherSlot:
        contender, run_seen = admission.contender, admission.run_seen
        until_s = self._clock.monotonic() + CANDIDATE_S
        while True:
            try:
                asked = self._publishers.promote(
                    stream.session, contender, run_seen=run_seen, highest_run=_highest_run(stream)
                )
                return await self._in_time(asked)
            except (RedisError, OSError):
                if self._clock.monotonic() >= until_s:
                    raise
                await asyncio.sleep(AGAIN_S)

    # -- staying in -------------------------------------------------------------------------------------------------

    async def keep(self, stream: LiveStream) -> None:
        """Keep the slot of the publisher here; once a second. One that has lost it is closed."""
        publisher = stream.audience.publisher
        if stream.session in self._checking:
            return  # who asks the holder keeps its slot as well
        if publisher is not None and await self._keep(stream, publisher, HolderChecks(), answered_s=None):
            self._check_holder(stream.session)

    async def leave(self, session: str, resource: str) -> None:
        """Free the slot, or the place of a candidate; if Redis is away they free themselves. Raises nothing."""
        try:
            await self._in_time(self._publishers.leave(session, resource=resource))
        except (RedisError, OSError):
            return

    def _check_holder(self, session: str) -> None:
        """Somebody else wants the slot: ask its holder, if that is here, until nobody wants it any more."""
        stream = self._hub.find(session)
        if stream is not None and stream.audience.publisher is not None and session not in self._checking:
            self._checking.add(session)
            self._hub.start(self._check(stream, stream.audience.publisher), name=f"publisher of {session}")

    async def _check(self, stream: LiveStream, holder: PeerResource) -> None:
        checks = HolderChecks()
        answered_s: float | None = None
        try:
            while stream.audience.publisher is holder and isinstance(holder.peer, IngestPeer):
                began_s = self._clock.monotonic()
                answered = await holder.peer.transport.answers()
                checks.checked(answered=answered)
                if answered:
                    answered_s = self._clock.monotonic()
                if not await self._keep(stream, holder, checks, answered_s=answered_s):
                    return
                await asyncio.sleep(max(0.0, began_s + CHECK_EVERY_S - self._clock.monotonic()))
        except (RedisError, OSError) as error:
            logger.warning("%s: its holder cannot be replaced: %s", stream.session, type(error).__name__)
        finally:
            self._checking.discard(stream.session)

    async def _keep(
        self, stream: LiveStream, holder: PeerResource, checks: HolderChecks, *, answered_s: float | None
    ) -> bool:
        """Tell Redis how the holder is; whether somebody else wants its slot."""
        quiet_s = holder.peer.quiet_s if isinstance(holder.peer, IngestPeer) else 0.0
        silent = checks.silent(quiet_s=quiet_s)
        heard_s = quiet_s if answered_s is None else min(quiet_s, self._clock.monotonic() - answered_s)
        kept = await self._in_time(
            self._publishers.keep(
                stream.session,
                key=holder.key,
                gateway=self._gateway,
                resource=holder.id,
                heard_ms=round(heard_s * 1_000),
                silent=silent,
                run=holder.run,
                highest_run=_highest_run(stream),
            )
        )
        if kept is None:
            self._hub.start(stream.dismiss(holder, "another publication took over"), name=f"end of peer {holder.id}")
            return False
        if stream.audience.publisher is not holder:
            await self.leave(stream.session, holder.id)  # it went while we asked
            return False
        stream.renumber(holder, kept.run)
        return kept.contended

    async def _in_time(self, asked: Awaitable[T]) -> T:
        async with asyncio.timeout(self._store_timeout_s):
            return await asked


def _highest_run(stream: LiveStream) -> int:
    """The newest publication that this gateway knows of: Redis may have lost it, and its clock may have gone back."""
    publisher = stream.audience.publisher
    return max(stream.output.shown_run, 0 if publisher is None else publisher.run)
