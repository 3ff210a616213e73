"""The rows of one session: what may run when, and what waits."""

import pytest

from genlock_core.approximation.levels import Level
from genlock_core.media import SourcePosition
from genlock_worker.engines.contract import Row, StreamSettings
from genlock_worker.engines.readiness import Needs, Reached
from genlock_worker.intake.chunks import InputChunk, SourceFrame
from genlock_worker.rows.scheduler import Candidate
from genlock_worker.rows.session_rows import SessionChunk, SessionPlan, SessionRows


def session(steps: int = 2, *, min_steps: int | None = None, needs: Needs | None = None) -> SessionRows:
    settings = StreamSettings("oil", steps, 64, 64, 16, seed=1, noise_scale=0.7)
    return SessionRows(SessionPlan("s", "m", settings, 0.5, min_steps), needs=needs or Needs())


def chunk(size: int, first: int = 0, complete_s: float = 1.0) -> InputChunk:
    frames = tuple(SourceFrame(SourcePosition(1, first + i), None, 0.0) for i in range(size))
    return InputChunk(frames, complete_s)


def rows(one: SessionRows) -> list[tuple[int, int]]:
    return [(c.row.step, c.row.chunk) for c in one.candidates()]


def begun(one: SessionRows, size: int = 4, first: int = 0) -> SessionChunk:
    one.offer(chunk(size, first))
    return one.begin()


def run(one: SessionRows, step: int, index: int) -> SessionChunk:
    """A row is submitted and comes back; after a chunk's last row its pictures are there at once."""
    done = submitted(one, step, index)
    one.collected(Row("s", step, index))
    if done.is_complete:
        one.shown(done, 5.0, since_s=5.0)
    return done


def submitted(one: SessionRows, step: int, index: int) -> SessionChunk:
    found = one.chunk(index)
    one.submitted(Row("s", step, index), 1.0)
    return found


def undecoded(one: SessionRows, step: int, index: int) -> SessionChunk:
    """A row comes back whose chunk's pictures do not yet."""
    done = submitted(one, step, index)
    one.collected(Row("s", step, index))
    return done


def test_the_rows_of_a_chunk_run_one_after_the_other() -> None:
    one = session()
    one.offer(chunk(5))
    assert rows(one) == [(0, 0)]
    in_flight = one.begin()
    assert not run(one, 0, 0).is_complete
    assert rows(one) == [(1, 0)]
    assert run(one, 1, 0) is in_flight
    assert rows(one) == []
    assert one.is_idle


def under_way(steps: int) -> SessionRows:
    """Chunk 0 is complete, chunk 1 was fed."""
    one = session(steps)
    begun(one, 5)
    for step in range(steps):
        run(one, step, 0)
    begun(one, 4, 10)
    return one


def test_the_second_chunk_waits_until_the_first_is_complete() -> None:
    one = session(2)
    begun(one, 5)
    one.offer(chunk(4, 10))
    assert rows(one) == [(0, 0)]
    run(one, 0, 0)
    assert rows(one) == [(1, 0)]
    run(one, 1, 0)
    assert rows(one) == [(0, 1)]


def test_the_next_chunk_enters_behind_the_first_row_and_never_overtakes() -> None:
    one = under_way(3)
    one.offer(chunk(4, 20))
    assert rows(one) == [(0, 1)]
    run(one, 0, 1)
    assert rows(one) == [(1, 1), (0, 2)]
    one.begin()
    run(one, 0, 2)
    assert rows(one) == [(1, 1)], "row 1 of chunk 2 needs row 1 of chunk 1"


AHEAD = Needs(encoded=True)


def ahead(one: SessionRows) -> tuple[int, int, bool] | None:
    """(step, chunk, whether it is encoded) of the chunk that may be fed ahead."""
    found = one.ahead()
    return None if found is None else (found.row.step, found.row.chunk, found.encoded)


def test_a_chunk_is_fed_ahead_of_its_first_row_where_the_engine_encodes_beside_the_rows() -> None:
    one = session(needs=AHEAD)
    one.offer(chunk(5))
    assert (rows(one), ahead(one)) == ([], (0, 0, False))
    assert not one.is_idle

    first = one.begin()
    first.encoding = True
    assert one.is_encoding
    assert (rows(one), ahead(one)) == ([], None)
    first.encoding = False
    assert rows(one) == [(0, 0)]
    assert one.candidates()[0].encoded


def test_one_chunk_at_most_is_ahead_of_its_first_row_and_what_waits_behind_it_gives_way() -> None:
    one = session(2, needs=AHEAD)
    begun(one, 5)
    for step in range(2):
        run(one, step, 0)
    begun(one, 4, 10)
    one.offer(chunk(4, 20))
    assert ahead(one) is None, "chunk 1 was fed and not begun"
    one.offer(chunk(4, 30, complete_s=2.0))
    run(one, 0, 1)
    assert ahead(one) == (0, 2, False)
    source = one.begin().source
    assert source is not None
    assert source.frames[0].position.capture_us == 30


def test_nothing_is_fed_ahead_that_could_not_run_if_it_were_encoded() -> None:
    one = session(2, needs=AHEAD)
    begun(one, 5)
    one.offer(chunk(4, 10))
    submitted(one, 0, 0)
    assert ahead(one) is None, "chunk 0 has a row left"
    submitted(one, 1, 0)
    assert ahead(one) == (0, 1, False), "its last row is under way"


def test_nothing_is_fed_ahead_while_pictures_are_behind() -> None:
    one = session(1, needs=AHEAD)
    begun(one, 5)
    undecoded(one, 0, 0)
    begun(one, 4, 10)
    undecoded(one, 0, 1)
    one.offer(chunk(4, 20))
    assert ahead(one) is None


def test_an_engine_that_encodes_in_its_order_is_fed_nothing_ahead() -> None:
    one = session()
    one.offer(chunk(5))
    assert ahead(one) is None
    (first,) = one.candidates()
    assert not first.encoded


def test_fewer_steps_do_not_let_a_chunk_come_out_before_the_one_ahead() -> None:
    one = under_way(4)
    run(one, 0, 1)
    one.request_steps(1, 0.0)
    one.offer(chunk(4, 20))
    assert rows(one) == [(1, 1)]
    for step in (1, 2, 3):
        run(one, step, 1)
    assert rows(one) == [(0, 2)]


def test_a_newer_chunk_takes_the_place_of_one_that_waits() -> None:
    one = session()
    begun(one, 5)
    one.offer(chunk(4, 10))
    assert one.offer(chunk(4, 20, complete_s=2.0)) == 4
    assert one.waiting is not None
    assert one.waiting.frames[0].position.capture_us == 20
    assert one.loss > 0


def test_the_first_chunk_of_a_fresh_start_waits_for_no_picture_that_may_never_come() -> None:
    one = session()
    assert one.offer(chunk(4)) == 0
    source = one.begin().source
    assert source is not None
    assert [frame.position.capture_us for frame in source.frames] == [-1, 0, 1, 2, 3]


def test_a_picture_that_came_once_more_is_no_loss() -> None:
    one = session()
    one.offer(chunk(4))
    assert one.offer(chunk(4, 10)) == 3
    assert one.waiting is not None
    assert [frame.position.capture_us for frame in one.waiting.frames] == [3, 10, 11, 12, 13]


def test_a_burst_of_input_is_dropped_and_nobodys_loss() -> None:
    one = session()
    begun(one, 5)
    one.offer(chunk(4, 10, complete_s=2.0))
    assert one.offer(chunk(4, 20, complete_s=2.01)) == 4
    assert one.loss == 0


def test_losses_fade_as_chunks_are_served() -> None:
    one = session(1)
    one.offer(chunk(5))
    one.offer(chunk(5, complete_s=2.0))
    lost = one.loss
    one.begin()
    run(one, 0, 0)
    assert 0 < one.loss < lost


def test_restored_chunks_in_flight_go_on_where_they_were() -> None:
    one = session()
    position = SourcePosition(3, 99)
    restored = SessionChunk(index=7, steps=2, rows=2, complete_s=1.0, positions=(position,), submitted=1, collected=1)
    one.go_back(next_chunk=8, in_flight=[restored], last_fed=position)
    assert rows(one) == [(1, 7)]
    assert (one.next_chunk, one.last_fed, one.running_steps) == (8, position, 2)
    with pytest.raises(KeyError, match="chunk 6 is not in flight"):
        one.chunk(6)


def test_it_expects_the_next_chunk_a_chunk_later() -> None:
    one = session()
    assert one.expected() is None
    begun(one, 5)
    arrival = one.expected()
    assert arrival is not None
    assert arrival.at_s == pytest.approx(1.0 + 4 / 16)


def test_one_chunk_may_end_while_another_is_decoded_and_a_third_waits() -> None:
    one = session(1)
    first = begun(one, 5)
    undecoded(one, 0, 0)
    second = begun(one, 4, 10)
    undecoded(one, 0, 1)
    one.offer(chunk(4, 20))
    assert rows(one) == []
    assert not one.is_idle
    one.shown(first, 5.2, since_s=5.0)
    assert rows(one) == [(0, 2)]
    one.shown(second, 5.2, since_s=5.0)
    assert rows(one) == [(0, 2)]


def test_rows_that_are_not_last_go_on_while_two_chunks_are_decoded() -> None:
    one = under_way(2)
    one.offer(chunk(4, 20))
    run(one, 0, 1)
    one.begin()
    undecoded(one, 1, 1)
    run(one, 0, 2)
    one.offer(chunk(4, 30))
    one.begin()
    undecoded(one, 1, 2)
    assert rows(one) == [(0, 3)]
    run(one, 0, 3)
    assert rows(one) == [], "its last row would be the third chunk without pictures"


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_chunks_do_not_pile_up_before_a_decoder_that_stands_still(steps: int) -> None:
    one = session(steps)
    for number in range(60):
        one.offer(chunk(5 if number == 0 else 4, 10 * number))
        for step, index in rows(one):
            if index == one.next_chunk:
                one.begin()
            undecoded(one, step, index)
    assert len(one.in_flight) <= steps + 1
    assert len({found.index for found in one.in_flight}) == len(one.in_flight)


def test_a_session_is_idle_only_when_its_pictures_are_there() -> None:
    one = session(1)
    in_flight = begun(one, 5)
    undecoded(one, 0, 0)
    assert not one.is_idle
    one.shown(in_flight, 5.1, since_s=5.0)
    assert one.is_idle


def test_another_generation_waits_for_nothing_of_the_one_before() -> None:
    one = session(1)
    begun(one, 5)
    undecoded(one, 0, 0)
    begun(one, 4, 10)
    submitted(one, 0, 1)
    one.go_back()
    assert one.is_idle
    assert (one.in_flight, one.next_chunk, one.last_fed, one.running_steps) == ([], 0, None, None)


def test_a_chunk_is_due_earlier_where_decoding_takes_long() -> None:
    one = session(1)
    begun(one, 5)
    (before,) = one.candidates()
    decoded = undecoded(one, 0, 0)
    for number in range(1, 60):
        one.shown(decoded, 5.08, since_s=5.0)
        begun(one, 4, 10 * number)
        decoded = undecoded(one, 0, number)
    one.shown(decoded, 5.08, since_s=5.0)
    one.offer(chunk(4, 10))
    assert [candidate.deadline_s for candidate in one.candidates()] == pytest.approx(
        [before.deadline_s - 0.08], abs=0.001
    )


def test_where_submitting_is_enough_the_next_row_follows_at_once() -> None:
    one = session(2)
    begun(one, 5)
    submitted(one, 0, 0)
    assert rows(one) == [(1, 0)]
    submitted(one, 1, 0)
    one.offer(chunk(4, 10))
    assert rows(one) == [(0, 1)], "chunk 0 was submitted whole"


def test_where_a_step_must_have_come_back_it_is_waited_for() -> None:
    one = session(2, needs=Needs(step=Reached.COLLECTED))
    begun(one, 5)
    submitted(one, 0, 0)
    assert rows(one) == []
    one.collected(Row("s", 0, 0))
    assert rows(one) == [(1, 0)]


def test_steps_are_what_is_requested_as_far_as_it_is_granted() -> None:
    one = session(4)
    assert (one.requested_steps, one.granted, one.next_steps) == (4, None, 4)
    assert one.grant(Level(2), 0.0) == Level(2)
    assert one.grant(Level(2), 0.0) is None
    assert one.next_steps == 2
    one.request_steps(1, 0.0)
    assert one.next_steps == 1
    one.request_steps(3, 0.0)
    assert (begun(one, 5).steps, one.running_steps) == (2, 2)


def test_overload_lowers_them_below_that_and_no_further_than_allowed() -> None:
    one = session(4, min_steps=2)
    one.grant(Level(3), 0.0)
    assert one.policy is not None
    for number in range(20):
        at_s = 1.0 + number * 1.1
        one.policy.trouble(at_s)
        one.policy.trouble(at_s)
        one.policy.decide(one.ceiling, at_s, load_above=2.0)
    assert one.next_steps == 2
    one.grant(Level(1), 30.0)
    assert one.next_steps == 1, "what is granted bounds what is allowed"


def test_lost_input_and_late_pictures_are_trouble() -> None:
    one = session(4, min_steps=1)
    assert one.policy is not None
    one.offer(chunk(5, complete_s=1.0))
    one.offer(chunk(5, 10, complete_s=1.3))
    late = one.begin()
    for step in range(4):
        undecoded(one, step, 0)
    one.shown(late, 1.9, since_s=1.8)
    assert one.policy.decide(one.ceiling, 2.0, load_above=2.0).steps == 3


def test_what_a_user_asks_for_is_tried_at_once_and_given_time() -> None:
    one = session(4, min_steps=1)
    assert one.policy is not None
    one.policy.trouble(9.0)
    one.policy.trouble(9.1)
    one.request_steps(3, 9.2)
    assert one.next_steps == 3
    one.policy.trouble(9.3)
    one.policy.trouble(9.4)
    assert one.policy.decide(one.ceiling, 9.5, load_above=2.0).steps == 3, "no sooner than a second after the change"
    assert one.policy.decide(one.ceiling, 10.3, load_above=2.0).steps == 2


def test_a_chunk_of_a_session_at_half_its_frames_takes_twice_as_long_and_is_no_burst() -> None:
    one = session(4, min_steps=1)
    whole_s = one.chunk_s
    assert one.grant(Level(1, every=2), 0.0) == Level(1, every=2)
    assert (one.ceiling, one.next_steps, one.chunk_s) == (Level(1, every=2), 1, 2 * whole_s)
    assert one.grant(Level(4), 1.0) == Level(4)
    assert one.chunk_s == whole_s


def test_what_overload_did_to_a_level_that_is_granted_no_more_is_no_reason_to_lower_the_new_one() -> None:
    one = session(4, min_steps=1)
    assert one.policy is not None
    one.policy.trouble(9.0)
    one.policy.trouble(9.1)
    one.grant(Level(2), 9.2)
    assert one.policy.decide(one.ceiling, 10.3, load_above=2.0) == Level(2)


def shown(one: SessionRows, index: int, now_s: float, *, steps: int = 1) -> None:
    """All rows of a chunk run, and its pictures are there."""
    for step in range(steps):
        submitted(one, step, index)
        one.collected(Row("s", step, index))
    done = one._undecoded[0]
    one.shown(done, now_s, since_s=now_s)


def offered(one: SessionRows, size: int, complete_s: float) -> Candidate:
    one.offer(chunk(size, complete_s=complete_s))
    return one.candidates()[-1]


def test_viewers_have_something_to_look_at_until_all_that_comes_before_a_chunk_is_over() -> None:
    one = session(steps=1)
    first = offered(one, 5, 1.0)
    assert first.plays_until_s == first.deadline_s == 1.5, "nothing was shown yet"
    one.begin()
    shown(one, 0, 1.2)
    ends_s = 1.2 + 5 / 16
    second = offered(one, 4, 1.25)
    assert second.plays_until_s == pytest.approx(ends_s)

    # The next but one follows what is under way.
    one.begin()
    submitted(one, 0, 1)
    third = offered(one, 4, 1.5)
    assert third.plays_until_s == pytest.approx(ends_s + 4 / 16)


def test_after_a_rest_of_its_source_a_stream_is_as_far_behind_it_as_before_and_in_no_greater_hurry() -> None:
    one = session(steps=1)
    offered(one, 5, 1.0)
    one.begin()
    shown(one, 0, 1.2)
    again = offered(one, 4, 61.0)
    assert again.plays_until_s == pytest.approx(61.0 + 0.2), "its viewers have looked at the last picture for a minute"
    one.begin()
    submitted(one, 0, 1)
    assert offered(one, 4, 61.1).plays_until_s == pytest.approx(61.0 + 0.2 + 4 / 16)
