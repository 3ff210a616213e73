"""How a reconciliation went: what is told of it, and whether its key comes again."""

import asyncio

import pytest

from genlock_core.clock import ManualClock
from genlock_operator.kube.errors import Conflict, RequestRefused, Unavailable
from genlock_operator.reconcile.executor import NotLeading
from genlock_operator.reconcile.loop import ReconcileLoop
from genlock_operator.reconcile.queue import BACKOFF_BASE_S, WorkQueue, pool_key, session_key

DEMO = session_key("studio/demo")


class Reconciler:
    """Raises what the test says, once for each; notes whom it worked on."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.worked_on: list[str] = []

    async def reconcile(self, name: str) -> None:
        self.worked_on.append(name)
        if self.errors:
            raise self.errors.pop(0)


class Looped:
    """One loop over a queue, with its clock."""

    def __init__(self, *errors: Exception) -> None:
        self.clock = ManualClock()
        self.queue = WorkQueue(self.clock, jitter=lambda: 1.0)
        self.sessions = Reconciler(*errors)
        self.pools = Reconciler()
        self.results: list[tuple[str, str]] = []
        self.beats: list[str] = []
        self.loop = ReconcileLoop(
            queue=self.queue,
            sessions=self.sessions,  # type: ignore[arg-type]
            pools=self.pools,  # type: ignore[arg-type]
            beat=self.beats.append,
            reconciled=lambda kind, result, _seconds: self.results.append((kind, result)),
        )

    async def run(self, count: int) -> None:
        """Until so many reconciliations are over."""
        running = asyncio.create_task(self.loop.run())
        while len(self.results) < count and not running.done():
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        if not running.cancelled():
            running.result()


async def test_each_key_goes_to_the_reconciler_of_its_kind() -> None:
    looped = Looped()
    looped.queue.add(DEMO)
    looped.queue.add(pool_key("studio/warm"))

    await looped.run(2)

    assert (looped.sessions.worked_on, looped.pools.worked_on) == (["studio/demo"], ["studio/warm"])
    assert looped.results == [("session", "done"), ("pool", "done")]
    assert looped.beats == ["reconcile", "reconcile"]


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (Conflict("patch", code=409, message="changed"), "conflict"),
        (Unavailable("patch", code=503, message="not now"), "failed"),
        (RequestRefused("patch", code=422, message="no"), "failed"),
        (TimeoutError(), "failed"),
        (ZeroDivisionError("a mistake"), "failed"),
    ],
)
async def test_what_went_wrong_is_told_and_the_key_comes_again_later(error: Exception, result: str) -> None:
    looped = Looped(error)
    looped.queue.add(DEMO)

    await looped.run(1)

    assert looped.results == [("session", result)]
    assert looped.queue.take() is None
    looped.clock.advance(BACKOFF_BASE_S)
    looped.queue.release_due()
    assert looped.queue.take() == DEMO


async def test_a_mistake_with_one_key_does_not_stop_the_next() -> None:
    looped = Looped(ZeroDivisionError("a mistake"))
    looped.queue.add(DEMO)
    looped.queue.add(session_key("studio/other"))

    await looped.run(2)

    assert looped.results == [("session", "failed"), ("session", "done")]


async def test_a_key_that_is_to_be_looked_at_again_is_told_apart() -> None:
    looped = Looped()
    looped.queue.add(DEMO)
    looped.queue.add_in(DEMO, 5.0)
    reconcile = looped.sessions.reconcile

    async def asks_again(name: str) -> None:
        await reconcile(name)
        looped.queue.add_in(DEMO, 3.0)

    looped.sessions.reconcile = asks_again  # type: ignore[method-assign]

    await looped.run(1)

    assert looped.results == [("session", "again")]


async def test_a_replica_that_does_not_lead_any_more_stops() -> None:
    looped = Looped(NotLeading())
    looped.queue.add(DEMO)

    with pytest.raises(NotLeading):
        await looped.run(1)
