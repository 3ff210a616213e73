"""Leader election as a task: it asks for the lease, renews it, says when we lead, and ends when we do no more.

The rule is `kube.lease`, which is pure; this is its shell of clock and requests.
"""

import asyncio
import logging
from typing import Final

from genlock_core.clock import Clock
from genlock_core.errors import GenlockError
from genlock_operator.kube.api import LEASES, Body, KubeApi
from genlock_operator.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from genlock_operator.kube.lease import RENEW_EVERY_S, RETRY_EVERY_S, LeaseCandidate

logger = logging.getLogger(__name__)

ANSWER_S: Final = 2.0


class LeadershipLost(GenlockError):
    """Another replica holds the lease, or may: stop acting, this process ends and begins anew."""


class Leader:
    """`leading` is set while we hold the lease; `run` raises LeadershipLost afterwards."""

    def __init__(self, api: KubeApi, *, namespace: str, name: str, identity: str, clock: Clock) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._clock = clock
        self._candidate = LeaseCandidate(identity)
        self._lease: Body | None = None
        """As we know that it is stored; None: it has to be read first."""
        self.leading = asyncio.Event()

    def may_act(self) -> bool:
        """Whether we hold the lease now, by our own clock."""
        return self._candidate.holds(self._clock.monotonic())

    async def run(self) -> None:
        """Stand by, then lead. Raises LeadershipLost when it is over; never returns."""
        while True:
            renewed = False
            try:
                async with asyncio.timeout(ANSWER_S):
                    renewed = await self._round()
            except (KubeError, TimeoutError) as error:
                logger.warning("the lease was not asked for: %s", error if str(error) else "no answer in time")
            if self.leading.is_set() and not self.may_act():
                self.leading.clear()
                raise LeadershipLost("the lease was lost; this replica stops, the other one goes on")
            await asyncio.sleep(RENEW_EVERY_S if renewed else RETRY_EVERY_S)

    async def release(self) -> None:
        """Let another replica lead at once."""
        if self._lease is None or not self.may_act():
            return
        self.leading.clear()
        spec = LeaseCandidate.released(self._lease["spec"], wall_ms=self._clock.wall_ms())
        try:
            async with asyncio.timeout(RENEW_EVERY_S):
                await self._write(self._lease, spec)
        except (KubeError, TimeoutError) as error:
            logger.warning("the lease was not given back, it runs out by itself: %s", error)

    async def _round(self) -> bool:
        """Ask once; whether we are the holder now."""
        if self._lease is None:
            self._lease = await self._read()
        asked_s = self._clock.monotonic()
        spec = None if self._lease is None else self._lease.get("spec")
        wanted = self._candidate.wanted(spec, now_s=asked_s, wall_ms=self._clock.wall_ms())
        if wanted is None:
            self._lease = None  # read it anew next time
            self._candidate.lost()
            return False

        # While the request is under way, and after one that failed, we do not know what is stored.
        known = self._lease
        self._lease = None
        try:
            self._lease = await self._write(known, wanted)
        except (Conflict, NotFound, AlreadyExists):
            return False
        self._candidate.written(asked_s=asked_s)
        if not self.leading.is_set():
            logger.info("this replica leads")
            self.leading.set()
        return True

    async def _read(self) -> Body | None:
        try:
            return await self._api.get(LEASES, self._namespace, self._name)
        except NotFound:
            return None

    async def _write(self, known: Body | None, spec: Body) -> Body:
        if known is None:
            metadata = {"name": self._name, "namespace": self._namespace}
            body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
            return await self._api.create(LEASES, self._namespace, body)
        body = {"metadata": {"resourceVersion": known["metadata"]["resourceVersion"]}, "spec": spec}
        return await self._api.patch(LEASES, self._namespace, self._name, body)
