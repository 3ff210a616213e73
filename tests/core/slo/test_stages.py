import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.slo.stages import MAX_OFFSET_US, MAX_STAGES, Leg, Place, Stage, StageTimes, latency_budget

offsets = st.dictionaries(st.sampled_from(Stage), st.integers(0, MAX_OFFSET_US))


@given(offsets, st.binary(max_size=8), st.binary(max_size=8))
def test_times_are_read_back_from_any_place_in_a_header(times: dict[Stage, int], front: bytes, back: bytes) -> None:
    written = StageTimes.of(times)
    read, end = StageTimes.decode(front + written.encode() + back, len(front))
    assert read == written
    assert end == len(front) + len(written.encode())


@given(st.binary(max_size=200), st.integers(0, 8))
def test_any_bytes_are_read_or_refused(data: bytes, offset: int) -> None:
    try:
        times, end = StageTimes.decode(memoryview(data), offset)
    except ValueError:
        return
    assert offset < end <= len(data)
    assert len(times) <= len(Stage)


def test_stages_of_a_newer_peer_are_left_out() -> None:
    data = bytes([2, 200, 0, 0, 0, 9, Stage.SENT, 0, 0, 0, 7])
    assert StageTimes.decode(data) == (StageTimes.of({Stage.SENT: 7}), len(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x01\x03\x00\x00\x00",
        b"\x02" + b"\x03\x00\x00\x00\x01" * 2,
        bytes([MAX_STAGES + 1]) + bytes(200),
    ],
)
def test_times_that_are_cut_short_doubled_or_too_many_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="stage times"):
        StageTimes.decode(data)


def test_times_do_not_change_they_grow_by_copies() -> None:
    first = StageTimes().at(Stage.RECEIVED, 0)
    second = first.at(Stage.DECODED, 4_000)
    assert (first.get(Stage.DECODED), second.get(Stage.DECODED)) == (None, 4_000)
    assert StageTimes.of({Stage.CAPTURED: 0}).merged(second).get(Stage.DECODED) == 4_000
    assert next(iter(second.merged(StageTimes.of({Stage.CAPTURED: 0}))))[0] is Stage.CAPTURED


def test_an_offset_before_its_clock_is_refused_and_a_huge_one_stands_as_the_largest() -> None:
    with pytest.raises(ValueError, match="before the first stage"):
        StageTimes().at(Stage.DECODED, -1)
    assert StageTimes().at(Stage.DECODED, 2**40).get(Stage.DECODED) == MAX_OFFSET_US


def test_a_budget_names_every_leg_and_gives_the_rest_to_the_network() -> None:
    times = StageTimes.of({
        Stage.CAPTURED: 0, Stage.FORWARDED: 2_000,
        Stage.RECEIVED: 0, Stage.DECODED: 3_000, Stage.CHUNKED: 190_000, Stage.STARTED: 191_000,
        Stage.GENERATED: 261_000, Stage.PACED: 300_000, Stage.ENCODED: 304_000, Stage.SENT: 304_500,
        Stage.ARRIVED: 0, Stage.PACKETISED: 600,
    })  # fmt: skip
    budget = latency_budget(times, total_us=310_000)
    assert budget == {
        Leg.INGEST: 2_000, Leg.DECODE: 3_000, Leg.CHUNK: 187_000, Leg.QUEUE: 1_000, Leg.ENGINE: 70_000,
        Leg.PACE: 39_000, Leg.ENCODE: 4_000, Leg.SEND: 500, Leg.FAN_OUT: 600, Leg.NETWORK: 2_900,
    }  # fmt: skip
    assert sum(budget.values()) == 310_000


@given(offsets, st.none() | st.integers(0, 10**9))
def test_a_budget_is_never_negative_and_has_only_legs_whose_ends_are_known(
    times: dict[Stage, int], total_us: int | None
) -> None:
    budget = latency_budget(StageTimes.of(times), total_us=total_us)
    assert all(value >= 0 for value in budget.values())
    assert (Leg.NETWORK in budget) == (total_us is not None)
    assert (Leg.ENGINE in budget) == ({Stage.STARTED, Stage.GENERATED} <= set(times))


def test_no_leg_mixes_the_clocks_of_two_places() -> None:
    for stage, place in ((Stage.FORWARDED, Place.PUBLISHER_GATEWAY), (Stage.RECEIVED, Place.WORKER)):
        assert stage.place is place
    for first in Stage:
        for second in Stage:
            if first.place is not second.place:
                assert latency_budget(StageTimes.of({first: 0, second: 9})) == {}
