"""Events on our objects: posted in the background, each sentence once in a while, at a bounded rate.

An Event is for people. None is worth holding a stream up, and none is worth flooding the API server for.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from genlock_core.clock import Clock
from genlock_operator.actions import Tell
from genlock_operator.kube.api import EVENTS, STREAM_SESSIONS, WORKER_POOLS, Body, KubeApi
from genlock_operator.kube.errors import KubeError

logger = logging.getLogger(__name__)

REPEAT_AFTER_S = 600.0
"""The same sentence about the same object is not posted again before this."""
REMEMBERED = 20_000
WAITING = 2_000
PER_SECOND = 25.0
BURST = 200.0
CONTROLLER = "genlock.dev/operator"
MAX_NOTE_CHARS = 1_000
_KINDS = {one.kind: one for one in (STREAM_SESSIONS, WORKER_POOLS)}


class EventRecorder:
    """Takes what is to be told, at once, and posts it when there is time. Run `run` as a task."""

    def __init__(self, api: KubeApi, *, identity: str, clock: Clock, told: Callable[[str, str], None]) -> None:
        self._api = api
        self._identity = identity
        self._clock = clock
        self._told = told
        self._known: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        """When each sentence about each object was taken last."""
        self._waiting: deque[Body] = deque()
        self._something = asyncio.Event()
        self._allowance = BURST
        """How many Events may be posted now; it grows with time."""
        self._counted_s = clock.monotonic()

    def tell(self, one: Tell) -> None:
        """Post it, unless it was said a while ago, or too much is being said; `told` hears what became of it."""
        # A sentence that was said a while ago is not repeated.
        now = self._clock.monotonic()
        key = (one.meta.uid, one.reason, one.message)
        if now - self._known.get(key, -REPEAT_AFTER_S) < REPEAT_AFTER_S:
            self._told(one.reason, "repeated")
            return

        # Too many at once are dropped, the newest ones.
        self._allowance = min(BURST, self._allowance + (now - self._counted_s) * PER_SECOND)
        self._counted_s = now
        if self._allowance < 1 or len(self._waiting) >= WAITING:
            self._told(one.reason, "dropped")
            return
        self._allowance -= 1

        self._known[key] = now
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        self._waiting.append(self._body(one))
        self._something.set()

    async def run(self) -> None:
        """Post for ever."""
        while True:
            await self._something.wait()
            self._something.clear()
            while self._waiting:
                await self._post(self._waiting.popleft())

    async def _post(self, body: Body) -> None:
        try:
            await self._api.create(EVENTS, body["metadata"]["namespace"], body)
            self._told(body["reason"], "posted")
        except KubeError as error:
            self._told(body["reason"], "failed")
            logger.warning("an Event was not posted: %s", error)

    def _body(self, one: Tell) -> dict[str, Any]:
        resource = _KINDS[one.kind]
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"generateName": f"{one.meta.name[:200]}-", "namespace": one.meta.namespace},
            "eventTime": micro_time(self._clock.wall_ms()),
            "reportingController": CONTROLLER,
            "reportingInstance": self._identity[:128],
            "action": one.reason,
            "reason": one.reason,
            "type": one.type,
            "note": one.message[:MAX_NOTE_CHARS],
            "regarding": {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "namespace": one.meta.namespace,
                "name": one.meta.name,
                "uid": one.meta.uid,
            },
        }


def micro_time(wall_ms: int) -> str:
    """Kubernetes' MicroTime."""
    return datetime.fromtimestamp(wall_ms / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
