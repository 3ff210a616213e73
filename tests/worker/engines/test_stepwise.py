"""An engine driven one batch at a time by somebody who waits for each."""

from collections.abc import Iterator

import pytest

from genlock_worker.engines.contract import Change, Chunk, EngineFailure, EngineState, Row
from genlock_worker.engines.mock import MockEngine
from genlock_worker.engines.mock.device import DeviceLost, Faults
from genlock_worker.engines.stepwise import BatchLost, Stepwise
from tests.worker.engines.mock.streams import bare_engine, chunk, settings


class Bad(Faults):
    """Loses the device with the given batch, and finds fault with the given rows."""

    def __init__(self, *, lost_with: int | None = None, rows: frozenset[Row] = frozenset()) -> None:
        self._lost_with = lost_with
        self._rows = rows

    def begins(self, number: int, rows: object) -> None:
        if number == self._lost_with:
            raise DeviceLost("it fell off the bus")

    def verdict(self, row: Row) -> str | None:
        return "not finite" if row in self._rows else None


@pytest.fixture
def engine() -> Iterator[MockEngine]:
    made = bare_engine()
    yield made
    made.stop()


def test_a_chunk_is_shown_with_the_steps_that_its_session_has(engine: MockEngine) -> None:
    demo = Stepwise(engine)
    demo.open("s", settings(steps=3))
    assert demo.show("s", chunk(0)).shape[0] == 5
    assert demo.snapshot("s").attributes["fedSteps"] == 3

    demo.apply("s", Change(steps=1, prompt="neon"))
    assert demo.show("s", chunk(1)).shape[0] == 4
    assert demo.snapshot("s").attributes["fedSteps"] == 1
    assert "neon" in str(demo.snapshot("s").attributes["prompts"])


def test_its_rows_can_be_run_one_by_one(engine: MockEngine) -> None:
    demo = Stepwise(engine)
    demo.open("s", settings(steps=2))
    assert demo.feed("s", chunk(0)) == 2
    (first,) = demo.run([Row("s", 0, 0)])
    (last,) = demo.run([Row("s", 1, 0)])
    assert first.output is None
    assert last.output is not None


def test_a_row_that_failed_is_an_error_of_its_session() -> None:
    engine = bare_engine(faults=Bad(rows=frozenset({Row("b", 0, 0)})))
    demo = Stepwise(engine)
    for session in ("a", "b"):
        demo.open(session, settings(steps=1))
        demo.feed(session, chunk(0))
    with pytest.raises(EngineFailure, match="not finite") as failure:
        demo.run([Row("a", 0, 0), Row("b", 0, 0)])
    assert failure.value.session == "b"


def test_a_lost_batch_is_an_error_with_its_reason() -> None:
    engine = bare_engine(faults=Bad(lost_with=1))
    demo = Stepwise(engine)
    demo.open("s", settings())
    demo.feed("s", chunk(0))
    with pytest.raises(BatchLost, match="it fell off the bus"):
        demo.run([Row("s", 0, 0)])


def test_a_restoration_is_waited_for_and_goes_on_where_the_state_was(engine: MockEngine) -> None:
    demo = Stepwise(engine)
    demo.open("s", settings())
    demo.show("s", chunk(0))
    state = demo.snapshot("s")
    shown = demo.show("s", chunk(1))

    demo.restore("t", settings(), state)
    assert demo.sink_digest("t") == state.sink_digest
    assert demo.show("t", chunk(1)).tobytes() == shown.tobytes()


def test_a_state_that_cannot_be_used_is_an_error_of_its_session(engine: MockEngine) -> None:
    demo = Stepwise(engine)
    with pytest.raises(EngineFailure, match="cannot be restored") as failure:
        demo.restore("t", settings(), EngineState(chunk=0, in_flight=(), attributes={}, head={}))
    assert failure.value.session == "t"


def test_a_closed_session_is_unknown(engine: MockEngine) -> None:
    demo = Stepwise(engine)
    demo.open("s", settings())
    demo.close("s")
    demo.close("s")
    with pytest.raises(ValueError, match="not open"):
        demo.feed("s", Chunk(0, None))
