"""Chunks that are encoded beside the rows: fed ahead of their first rows, one of each session, and never superseded."""

from collections.abc import AsyncIterator

import pytest

from genlock_core.claims.pulse import EnginePhase
from genlock_worker.engines.contract import Change, EngineFailure
from genlock_worker.engines.readiness import Needs
from tests.worker.gateway import until
from tests.worker.rows.test_engine_loop import Rig


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    made.engine.needs = Needs(encoded=True)
    await made.loop.start()
    yield made
    made.engine.running.set()
    made.client.stop()
    await made.loop.stop()


async def fed(rig: Rig, session: str, index: int) -> None:
    await until(lambda: (session, index) in rig.engine.encodings, f"chunk {index} of {session} is fed")


async def encoded(rig: Rig, session: str, index: int) -> None:
    """A chunk is fed, and then encoded."""
    await fed(rig, session, index)
    rig.engine.encodings[session, index].set_result(None)


async def shown(rig: Rig, session: str, count: int) -> None:
    await until(lambda: len(rig.told[session].chunks) == count, f"{count} chunks of {session}")


async def opened(rig: Rig, *sessions: str, steps: int = 1) -> None:
    """Sessions whose first chunk was shown."""
    await rig.open(*sessions, steps=steps)
    for session in sessions:
        rig.offer(session, 0)
        await encoded(rig, session, 0)
        await shown(rig, session, 1)


async def test_a_first_row_waits_until_its_chunk_is_encoded_and_others_rows_do_not(rig: Rig) -> None:
    await opened(rig, "a", "b")
    rig.offer("a", 1)
    await fed(rig, "a", 1)
    rig.offer("b", 1)
    await encoded(rig, "b", 1)
    await shown(rig, "b", 2)
    await rig.turns()
    assert len(rig.told["a"].chunks) == 1

    woken: list[bool] = []
    wake = rig.loop.thread.wake
    rig.loop.thread.wake = lambda: woken.append(rig.loop.sessions["a"].rows.is_encoding) or wake()  # type: ignore[func-returns-value, method-assign]
    await encoded(rig, "a", 1)
    assert woken[:1] == [False], "the loop is told at once"
    await shown(rig, "a", 2)
    assert [(row.session, row.chunk) for batch in rig.engine.batches for row in batch] == [
        ("a", 0),
        ("b", 0),
        ("b", 1),
        ("a", 1),
    ]


async def test_the_next_chunk_is_encoded_while_a_batch_is_under_way(rig: Rig) -> None:
    await opened(rig, "a")
    rig.engine.running.clear()
    rig.offer("a", 1)
    await encoded(rig, "a", 1)
    await until(lambda: len(rig.engine.taken) == 2, "the row of chunk 1 is under way")
    rig.offer("a", 2)
    await encoded(rig, "a", 2)
    rig.engine.running.set()
    await shown(rig, "a", 3)


async def test_a_burst_while_a_chunk_is_being_encoded_gives_way_to_its_newest_and_the_fed_one_to_nobody(
    rig: Rig,
) -> None:
    await opened(rig, "a")
    rig.offer("a", 1, value=1)
    await fed(rig, "a", 1)
    dropped = [rig.offer("a", 2, value=value) for value in range(2, 6)]
    assert dropped == [0, 4, 4, 4]
    await rig.turns()
    assert ("a", 2) not in rig.engine.encodings, "one chunk of a session at most"
    await encoded(rig, "a", 1)
    await encoded(rig, "a", 2)
    await shown(rig, "a", 3)
    assert [int(chunk.frames.max()) for chunk in rig.told["a"].chunks] == [0, 1, 5]


async def test_an_encoder_that_hangs_stops_the_progress_and_one_that_works_does_not(rig: Rig) -> None:
    await opened(rig, "a")
    rig.offer("a", 1)
    await fed(rig, "a", 1)
    await rig.turns()
    stuck = rig.loop.progress
    await rig.turns()
    assert rig.loop.progress == stuck
    rig.engine.progress += 1
    assert rig.loop.progress == stuck + 1, "a part that the encoder has finished"
    await encoded(rig, "a", 1)
    await shown(rig, "a", 2)
    await until(lambda: rig.loop.progress > stuck + 2, "progress")


async def test_a_session_whose_very_first_chunk_is_being_encoded_warms_up(rig: Rig) -> None:
    await rig.open("a")
    rig.offer("a", 0)
    await fed(rig, "a", 0)
    await until(lambda: rig.loop.thread.phase is EnginePhase.WARMING_UP, "the first encoding may take long")
    await encoded(rig, "a", 0)
    await shown(rig, "a", 1)
    rig.offer("a", 1)
    await fed(rig, "a", 1)
    await until(lambda: rig.loop.thread.phase is EnginePhase.STEPPING, "a later one may not")


async def test_a_session_that_is_closed_while_its_chunk_is_being_encoded_is_forgotten(rig: Rig) -> None:
    await opened(rig, "a", "b")
    rig.offer("a", 1)
    await fed(rig, "a", 1)
    assert not await rig.client.is_idle("a")
    rig.client.close("a")
    await encoded(rig, "a", 1)
    rig.offer("b", 1)
    await encoded(rig, "b", 1)
    await shown(rig, "b", 2)
    assert len(rig.told["a"].chunks) == 1
    assert not rig.told["a"].resets


async def test_a_session_that_begins_anew_does_not_wait_for_what_was_being_encoded(rig: Rig) -> None:
    await opened(rig, "a")
    rig.offer("a", 1)
    await fed(rig, "a", 1)
    old = rig.engine.encodings["a", 1]
    rig.client.apply("a", Change(reset="user"))
    await until(lambda: rig.told["a"].fresh_starts == ["user"], "a fresh start")
    del rig.engine.encodings["a", 0]
    rig.offer("a", 0, value=9)
    await encoded(rig, "a", 0)
    await shown(rig, "a", 2)
    old.set_result(None)
    await rig.turns()
    assert int(rig.told["a"].chunks[-1].frames.max()) == 9
    assert not rig.told["a"].resets


async def test_a_chunk_that_cannot_be_encoded_fails_its_session_at_its_first_row(rig: Rig) -> None:
    await opened(rig, "a", "b")
    rig.engine.failures.append(EngineFailure("a", "chunk 1 cannot be taken in"))
    rig.offer("a", 1)
    await encoded(rig, "a", 1)
    await until(lambda: rig.told["a"].resets == ["chunk 1 cannot be taken in"], "the session's failure")
    rig.offer("b", 1)
    await encoded(rig, "b", 1)
    await shown(rig, "b", 2)
    assert not rig.told["b"].resets


async def test_a_chunk_that_is_being_encoded_is_in_the_checkpoint_and_goes_on_from_there(rig: Rig) -> None:
    await opened(rig, "a", steps=2)
    rig.engine.running.clear()
    rig.offer("a", 1)
    await encoded(rig, "a", 1)
    await until(lambda: rig.engine.taken[-1][0].chunk == 1, "the first row of chunk 1 is under way")
    rig.offer("a", 2)
    await fed(rig, "a", 2)
    rig.engine.running.set()
    await shown(rig, "a", 2)
    checkpoint = rig.told["a"].chunks[-1].checkpoint
    assert [(one.index, one.done) for one in checkpoint.state.in_flight] == [(2, 0)]
    assert [position.capture_us for position in checkpoint.positions[2]] == [20, 21, 22, 23]
    assert checkpoint.source == checkpoint.positions[2][-1]

    rig.engine.failures.append(EngineFailure("a", "its memory ran out"))
    await encoded(rig, "a", 2)
    await until(lambda: rig.told["a"].restored == [True], "the session goes back")
    await shown(rig, "a", 3)
    assert [chunk.chunk.index for chunk in rig.told["a"].chunks] == [0, 1, 2]
