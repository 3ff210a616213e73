"""When a row may run, clause by clause; and that whatever the rule allows gives what one row after the other gives."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from genlock_worker.engines.contract import Change, Row
from genlock_worker.engines.readiness import ChunkInFlight, Needs, Reached, may_run
from tests.worker.engines.mock.streams import bare_engine, chunk, engine, play, settings
from tests.worker.engines.mock.submissions import Collector

EACH = [Needs(step=step, chunk=of_chunk) for step, of_chunk in product(Reached, Reached)]
LEAST = Needs()
STEP_COLLECTED = Needs(step=Reached.COLLECTED)
CHUNK_COLLECTED = Needs(chunk=Reached.COLLECTED)


def at(index: int, rows: int, submitted: int, collected: int | None = None) -> ChunkInFlight:
    """A chunk whose submitted rows have all come back, unless something else is said."""
    return ChunkInFlight(
        index=index, rows=rows, submitted=submitted, collected=submitted if collected is None else collected
    )


@pytest.mark.parametrize("needs", EACH)
def test_the_only_chunk_runs_its_rows_one_after_the_other(needs: Needs) -> None:
    for done in range(4):
        one = at(5, 3, done)
        assert [may_run(step, one, (), needs) for step in range(4)] == [step == done < 3 for step in range(4)]


@pytest.mark.parametrize("needs", EACH)
def test_a_row_does_not_run_twice(needs: Needs) -> None:
    assert not may_run(0, at(5, 3, 1), (), needs)


@pytest.mark.parametrize("needs", EACH)
def test_a_chunk_has_no_row_after_its_last(needs: Needs) -> None:
    assert not may_run(3, at(5, 3, 3), (), needs)


@pytest.mark.parametrize("needs", EACH)
def test_no_row_runs_while_its_chunk_is_being_encoded_and_the_chunks_before_go_on(needs: Needs) -> None:
    before, coming = at(5, 3, 1), at(6, 3, 0)
    assert may_run(0, coming, [before], needs)
    coming.encoding = True
    assert not may_run(0, coming, [before], needs)
    assert may_run(1, before, (), needs)


def test_a_row_follows_the_step_before_once_that_is_submitted() -> None:
    one = at(5, 3, 1, collected=0)
    assert may_run(1, one, (), LEAST)
    assert may_run(1, one, (), CHUNK_COLLECTED)


def test_a_row_waits_for_the_step_before_to_be_collected_where_that_is_needed() -> None:
    assert not may_run(1, at(5, 3, 1, collected=0), (), STEP_COLLECTED)
    assert may_run(1, at(5, 3, 1, collected=1), (), STEP_COLLECTED)


@pytest.mark.parametrize("needs", EACH)
def test_a_row_waits_for_the_same_step_of_the_chunk_before(needs: Needs) -> None:
    assert not may_run(1, at(6, 4, 1), [at(5, 4, 1)], needs)
    assert may_run(1, at(6, 4, 1), [at(5, 4, 2)], needs)


def test_the_chunk_before_needs_to_be_collected_where_the_engine_says_so() -> None:
    before = at(5, 4, 2, collected=1)
    assert may_run(1, at(6, 4, 1), [before], LEAST)
    assert may_run(1, at(6, 4, 1), [before], STEP_COLLECTED)
    assert not may_run(1, at(6, 4, 1), [before], CHUNK_COLLECTED)


@pytest.mark.parametrize("needs", EACH)
def test_every_row_waits_for_chunk_0_to_be_complete(needs: Needs) -> None:
    assert not may_run(0, at(1, 4, 0), [at(0, 4, 3)], needs)
    assert may_run(0, at(1, 4, 0), [at(0, 4, 4)], needs)


def test_chunk_0_needs_to_be_collected_where_the_engine_says_so() -> None:
    before = at(0, 4, 4, collected=3)
    assert may_run(0, at(1, 4, 0), [before], LEAST)
    assert not may_run(0, at(1, 4, 0), [before], CHUNK_COLLECTED)


@pytest.mark.parametrize("needs", EACH)
def test_a_last_row_waits_for_the_chunk_before_to_be_complete(needs: Needs) -> None:
    """The steps have fallen from 4 to 2: without this, the later chunk would be shown first."""
    assert not may_run(1, at(6, 2, 1), [at(5, 4, 3)], needs)
    assert may_run(1, at(6, 2, 1), [at(5, 4, 4)], needs)


@pytest.mark.parametrize("needs", EACH)
def test_a_row_that_the_chunk_before_does_not_have_waits_for_its_end_alone(needs: Needs) -> None:
    """The steps have risen from 1 to 4."""
    assert may_run(2, at(6, 4, 2), [at(5, 1, 1)], needs)


@pytest.mark.parametrize("needs", EACH)
def test_every_earlier_chunk_counts(needs: Needs) -> None:
    later = at(7, 4, 1)
    assert not may_run(1, later, [at(5, 4, 1), at(6, 4, 2)], needs)
    assert not may_run(1, later, [at(5, 4, 2), at(6, 4, 1)], needs)
    assert may_run(1, later, [at(5, 4, 3), at(6, 4, 2)], needs)


def test_a_chunk_is_complete_when_its_last_row_has_come_back() -> None:
    assert not at(5, 2, 2, collected=1).is_complete
    assert at(5, 2, 2).is_complete


# -- on an engine -----------------------------------------------------------------------------------------------------

STEPS = (3, 2, 4, 1, 3)
"""By chunk: they rise and fall."""


@pytest.fixture(scope="module")
def sequential() -> list[bytes]:
    """Each chunk fed and run to its end before the next."""
    one = engine()
    one.open("s", settings())
    changes = {index: Change(steps=steps) for index, steps in enumerate(STEPS)}
    outputs = play(one, "s", range(len(STEPS)), changes=changes)
    one.engine.stop()
    return [output.tobytes() for output in outputs]


@limits(max_examples=40)
@given(data=st.data(), depth=st.integers(1, 4), needs=st.sampled_from(EACH))
def test_whatever_the_rule_allows_gives_what_one_row_after_the_other_gives(
    data: st.DataObject, depth: int, needs: Needs, sequential: list[bytes]
) -> None:
    mock = bare_engine(depth=depth)
    mock.open("s", settings())
    collector = Collector(mock)
    chunks: list[ChunkInFlight] = []
    outputs: list[bytes] = []
    under_way: dict[int, list[ChunkInFlight]] = {}
    fed = number = 0

    while len(outputs) < len(STEPS):
        ready = [one for place, one in enumerate(chunks) if may_run(one.submitted, one, chunks[:place], needs)]
        actions = ["collect"] if under_way else []
        if fed < len(STEPS):
            actions.append("feed")
        if ready and len(under_way) < depth:
            actions.append("submit")

        match data.draw(st.sampled_from(actions)):
            case "feed":
                mock.feed("s", chunk(fed), steps=STEPS[fed])
                chunks.append(ChunkInFlight(index=fed, rows=STEPS[fed]))
                fed += 1
            case "submit":
                chosen = data.draw(st.lists(st.sampled_from(ready), min_size=1, unique=True))
                number += 1
                mock.submit(number, [Row("s", one.submitted, one.index) for one in chosen])
                for one in chosen:
                    one.submitted += 1
                under_way[number] = chosen
            case _:
                # Results of one session come in the order in which its rows were submitted.
                oldest = next(iter(under_way))
                results = collector.batch(oldest).rows
                for one, result in zip(under_way.pop(oldest), results, strict=True):
                    assert result.failure is None
                    one.collected += 1
                    if result.output is not None:
                        outputs.append(result.output.tobytes())
                chunks = [one for one in chunks if not one.is_complete]

    mock.stop()
    assert outputs == sequential
