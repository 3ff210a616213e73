"""Receiver reports: losses are seen, repaired ones too, and none is negative."""

from hypothesis import given
from hypothesis import strategies as st

from genlock_gateway.rtc.ingest.reception import MAX_DROPOUT, ReceptionStatistics


def statistics_of(numbers: list[int]) -> ReceptionStatistics:
    statistics = ReceptionStatistics(90_000)
    for at, number in enumerate(numbers):
        statistics.add(number & 0xFFFF, 3_000 * at & 0xFFFFFFFF, at / 30)
    return statistics


def test_nothing_is_lost_where_all_arrives_and_numbers_wrap() -> None:
    statistics = statistics_of(list(range(65_000, 66_000)))
    assert (statistics.packets_lost, statistics.take_fraction_lost()) == (0, 0)
    assert statistics.highest_sequence == 65_999


def test_losses_are_counted_and_the_fraction_is_that_since_the_last_report() -> None:
    statistics = statistics_of([number for number in range(100) if number % 4])
    assert statistics.packets_lost == 24, "the first was lost before anything came"
    assert statistics.take_fraction_lost() == (24 << 8) // 99
    for number in range(100, 200):
        statistics.add(number, 0, 0.0)
    assert (statistics.packets_lost, statistics.take_fraction_lost()) == (24, 0)


def test_duplicates_count_once() -> None:
    statistics = statistics_of([1, 2, 2, 2, 4, 4, 4, 1])
    assert statistics.packets_lost == 1


def test_a_late_packet_mends_its_loss() -> None:
    statistics = statistics_of([1, 2, 4, 5])
    assert statistics.packets_lost == 1
    statistics.add(3, 0, 0.0)
    assert statistics.packets_lost == 0


@given(st.lists(st.integers(0, 0xFFFF), max_size=200), st.lists(st.integers(0, 30), max_size=200))
def test_it_is_never_negative_and_stays_small(wild: list[int], near: list[int]) -> None:
    statistics = ReceptionStatistics(90_000)
    for number in [*wild, *(number + 65_520 & 0xFFFF for number in near)]:
        statistics.add(number, 0, 0.0)
        assert statistics.packets_lost >= 0
        assert 0 <= statistics.take_fraction_lost() <= 255
        assert len(statistics._seen) <= 2_048


def test_a_sender_that_begins_anew_keeps_what_was_lost() -> None:
    statistics = statistics_of([1, 2, 4])
    statistics.add(4 + MAX_DROPOUT, 0, 0.0)
    assert statistics.packets_lost == 1
    statistics.add(6 + MAX_DROPOUT, 0, 0.0)
    assert statistics.packets_lost == 2


def test_jitter_is_that_of_the_rfc() -> None:
    even = statistics_of(list(range(100)))
    assert even.jitter == 0
    uneven = ReceptionStatistics(90_000)
    for at in range(1_000):
        late_s = 0.01 if at % 2 else 0.0
        uneven.add(at, 3_000 * at, at / 30 + late_s)
    assert abs(uneven.jitter - 900) < 90, "packets that are 10 ms late by turns"
