"""The queue of keys, on a clock that the test sets."""

import pytest

from genlock_core.clock import ManualClock
from genlock_operator.reconcile.queue import BACKOFF_BASE_S, BACKOFF_CAP_S, WorkKey, WorkQueue, session_key

A, B = session_key("ns/a"), session_key("ns/b")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def queue(clock: ManualClock) -> WorkQueue:
    return WorkQueue(clock, jitter=lambda: 1.0)


def taken(queue: WorkQueue) -> list[WorkKey]:
    found = []
    while (one := queue.take()) is not None:
        found.append(one)
    return found


def test_a_key_waits_once_and_the_first_comes_first(queue: WorkQueue) -> None:
    for key in (A, B, A):
        queue.add(key)
    assert taken(queue) == [A, B]


def test_a_key_that_changes_while_it_is_worked_on_comes_again_afterwards(queue: WorkQueue) -> None:
    queue.add(A)
    assert taken(queue) == [A]
    queue.add(A)
    assert taken(queue) == []
    queue.done(A, failed=False)
    assert taken(queue) == [A]


def test_failures_come_later_and_later_up_to_a_bound(queue: WorkQueue, clock: ManualClock) -> None:
    queue.add(A)
    waits = []
    for _ in range(12):
        assert taken(queue) == [A]
        queue.done(A, failed=True)
        before = clock.monotonic()
        while not len(queue):
            clock.advance(0.1)
            queue.release_due()
        waits.append(clock.monotonic() - before)
    assert waits[0] == pytest.approx(BACKOFF_BASE_S, abs=0.11)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(BACKOFF_CAP_S, abs=0.11)


def test_of_two_times_to_look_again_the_sooner_one_holds(queue: WorkQueue, clock: ManualClock) -> None:
    queue.add_in(A, 10.0)
    queue.add_in(A, 2.0)
    queue.add_in(A, 5.0)
    clock.advance(2.0)
    queue.release_due()
    assert taken(queue) == [A]
    queue.done(A, failed=False)
    clock.advance(100.0)
    queue.release_due()
    assert taken(queue) == []
