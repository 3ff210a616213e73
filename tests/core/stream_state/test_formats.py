"""Which snapshot format a worker writes, so that sessions can move both ways."""

from hypothesis import given
from hypothesis import strategies as st

from genlock_core.claims.identity import FormatRange
from genlock_core.stream_state.formats import FORMATS, READABLE, writer_format

ranges = st.tuples(st.integers(1, 9), st.integers(0, 4)).map(lambda pair: FormatRange(pair[0], pair[0] + pair[1]))


def test_this_version_reads_every_format_of_its_table() -> None:
    assert set(FORMATS) == set(range(READABLE.oldest, READABLE.newest + 1))


def test_a_rollout_writes_the_old_format_until_the_last_old_reader_is_gone() -> None:
    old, both, new = FormatRange(1, 1), FormatRange(1, 2), FormatRange(2, 2)
    assert writer_format([old, old], own=old) == 1
    assert writer_format([old, both], own=both) == 1
    assert writer_format([both, both], own=both) == 2
    assert writer_format([both, new], own=both) == 2


def test_an_old_worker_that_comes_back_is_written_for_again() -> None:
    old, both = FormatRange(1, 1), FormatRange(1, 2)
    assert writer_format([both, both, old], own=both) == 1


def test_where_nobody_is_known_to_live_everybody_may_come() -> None:
    assert writer_format([], own=FormatRange(1, 2)) == 1


@given(ranges, st.lists(ranges, max_size=5))
def test_it_is_the_newest_that_all_read_where_there_is_one_and_always_one_that_can_be_written(
    own: FormatRange, others: list[FormatRange]
) -> None:
    live = [own, *others]
    chosen = writer_format(live, own=own)
    assert own.reads(chosen)
    common = [number for number in range(1, 15) if all(worker.reads(number) for worker in live)]
    assert not common or chosen == common[-1]


def test_the_blocks_of_a_format_bear_a_number_that_is_read_and_no_newer_one() -> None:
    for number, payload_format in FORMATS.items():
        assert payload_format.blocks in FORMATS
        assert payload_format.blocks <= number
