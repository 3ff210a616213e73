"""The rows of one session: what may run when, and what waits."""

import pytest

from genlock_core.media import SourcePosition
from genlock_worker.engines.contract import BatchShape, Row
from genlock_worker.intake.chunks import InputChunk, SourceFrame
from genlock_worker.rows.lanes import Lane, LaneChunk


def lane(steps: int = 2) -> Lane:
    return Lane("s", shape=BatchShape("m", 64, 64, 4), deadline_s=0.5, steps=steps, period_s=1 / 16)


def chunk(size: int, first: int = 0, complete_s: float = 1.0) -> InputChunk:
    frames = tuple(SourceFrame(SourcePosition(1, first + i), None, 0.0) for i in range(size))
    return InputChunk(frames, complete_s)


def rows(lane: Lane) -> list[tuple[int, int]]:
    return [(c.row.step, c.row.chunk) for c in lane.candidates()]


def begun(lane: Lane, size: int = 4, first: int = 0) -> LaneChunk:
    lane.offer(chunk(size, first))
    return lane.begin(lane.steps)


def test_the_rows_of_a_chunk_run_one_after_the_other() -> None:
    one = lane()
    one.offer(chunk(5))
    assert rows(one) == [(0, 0)]
    in_flight = one.begin(2)
    assert one.done(Row("s", 0, 0)) is None
    assert rows(one) == [(1, 0)]
    assert one.done(Row("s", 1, 0)) is in_flight
    assert rows(one) == []


def under_way(steps: int) -> Lane:
    """Chunk 0 is complete, chunk 1 was fed."""
    one = lane(steps)
    begun(one, 5)
    for step in range(steps):
        one.done(Row("s", step, 0))
    begun(one, 4, 10)
    return one


def test_the_second_chunk_waits_until_the_first_is_complete() -> None:
    one = lane(2)
    begun(one, 5)
    one.offer(chunk(4, 10))
    assert rows(one) == [(0, 0)]
    one.done(Row("s", 0, 0))
    assert rows(one) == [(1, 0)]
    one.done(Row("s", 1, 0))
    assert rows(one) == [(0, 1)]


def test_the_next_chunk_enters_behind_the_first_row_and_never_overtakes() -> None:
    one = under_way(3)
    one.offer(chunk(4, 20))
    assert rows(one) == [(0, 1)]
    one.done(Row("s", 0, 1))
    assert rows(one) == [(1, 1), (0, 2)]
    one.begin(3)
    one.done(Row("s", 0, 2))
    assert rows(one) == [(1, 1)], "row 1 of chunk 2 needs row 1 of chunk 1"


def test_fewer_steps_do_not_let_a_chunk_come_out_before_the_one_ahead() -> None:
    one = under_way(4)
    one.done(Row("s", 0, 1))
    one.steps = 1
    one.offer(chunk(4, 20))
    assert rows(one) == [(1, 1)]
    for step in (1, 2, 3):
        one.done(Row("s", step, 1))
    assert rows(one) == [(0, 2)]


def test_a_newer_chunk_takes_the_place_of_one_that_waits() -> None:
    one = lane()
    begun(one, 5)
    one.offer(chunk(4, 10))
    assert one.offer(chunk(4, 20, complete_s=2.0)) == 4
    assert one.waiting is not None
    assert one.waiting.frames[0].position.capture_us == 20
    assert one.loss > 0


def test_the_first_chunk_is_made_whole_from_what_follows() -> None:
    one = lane()
    assert one.offer(chunk(4)) == 0
    assert rows(one) == []
    assert one.offer(chunk(4, 10)) == 3
    assert rows(one) == [(0, 0)]


def test_a_burst_of_input_is_dropped_and_nobodys_loss() -> None:
    one = lane()
    begun(one, 5)
    one.offer(chunk(4, 10, complete_s=2.0))
    assert one.offer(chunk(4, 20, complete_s=2.01)) == 4
    assert one.loss == 0


def test_losses_fade_as_chunks_are_served() -> None:
    one = lane(1)
    one.offer(chunk(5))
    one.offer(chunk(5, complete_s=2.0))
    lost = one.loss
    one.begin(1)
    one.done(Row("s", 0, 0))
    assert 0 < one.loss < lost


def test_restored_chunks_in_flight_go_on_where_they_were() -> None:
    one = lane()
    position = SourcePosition(3, 99)
    one.reset(next_chunk=8, chunks_in_flight=[LaneChunk(7, 2, 1, 1.0, position, None)], last_fed=position)
    assert rows(one) == [(1, 7)]
    with pytest.raises(KeyError):
        one.in_flight(6)


def test_it_expects_the_next_chunk_a_chunk_later() -> None:
    one = lane()
    assert one.expected() is None
    begun(one, 5)
    arrival = one.expected()
    assert arrival is not None
    assert arrival.at_s == pytest.approx(1.0 + 4 / 16)


def chunk_done(number: int) -> LaneChunk:
    return LaneChunk(number, 2, 2, 1.0, SourcePosition(1, 4), None)


def test_one_chunk_may_end_while_another_is_decoded_and_a_third_waits() -> None:
    one = under_way(2)
    one.done(Row("s", 0, 1))
    one.offer(chunk(4, 20))
    before, newer = chunk_done(7), chunk_done(8)
    one.decoding(before, 5.0)
    assert rows(one) == [(1, 1), (0, 2)]
    one.decoding(newer, 6.0)
    assert (rows(one), one.decoding_since_s) == ([(0, 2)], 5.0)
    assert one.shown(before, 6.1)
    assert (rows(one), one.decoding_since_s) == ([(1, 1), (0, 2)], 6.0)
    assert not one.shown(before, 6.2), "nobody waits for them any more"


def test_a_session_of_one_step_begins_no_third_chunk_before_the_firsts_pictures_are_there() -> None:
    one = lane(1)
    first = begun(one, 5)
    one.done(Row("s", 0, 0))
    one.decoding(first, 5.0)
    one.offer(chunk(4, 10))
    assert rows(one) == [(0, 1)]
    one.decoding(chunk_done(7), 5.1)
    assert rows(one) == []
    assert not one.is_idle
    one.shown(first, 5.2)
    assert rows(one) == [(0, 1)]


def test_a_lane_is_idle_only_when_its_pictures_are_there() -> None:
    one = lane(1)
    in_flight = begun(one, 5)
    one.done(Row("s", 0, 0))
    one.decoding(in_flight, 5.0)
    assert not one.is_idle
    one.shown(in_flight, 5.1)
    assert one.is_idle


@pytest.mark.parametrize("reset", [True, False])
def test_pictures_of_before_a_reset_are_nobodys(reset: bool) -> None:
    one = lane(1)
    in_flight = begun(one, 5)
    one.done(Row("s", 0, 0))
    one.decoding(in_flight, 5.0)
    if reset:
        one.reset(next_chunk=0, chunks_in_flight=[], last_fed=None)
    else:
        one.forget_decoding()
    assert not one.shown(in_flight, 5.1)


def test_a_chunk_is_due_earlier_where_decoding_takes_long() -> None:
    one = lane(1)
    begun(one, 5)
    (before,) = one.candidates()
    for number in range(60):
        in_flight = LaneChunk(number, 1, 1, 1.0, SourcePosition(1, 4), None)
        one.decoding(in_flight, 5.0)
        one.shown(in_flight, 5.08)
    assert [candidate.deadline_s for candidate in one.candidates()] == pytest.approx(
        [before.deadline_s - 0.08], abs=0.001
    )
