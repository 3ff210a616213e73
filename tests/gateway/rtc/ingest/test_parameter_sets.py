"""All parameter sets of a stream are kept by their numbers, within bounds."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.bitstreams.h264_headers import SequenceHeader, SliceHeader
from genlock_core.media import Trouble
from genlock_gateway.rtc.ingest.parameter_sets import MAX_BYTES, MAX_SET_BYTES, ParameterSets
from tests.bitstreams.bits import picture_set, sequence_set

IDR = SliceHeader(0, is_intra=True, picture_set_id=0)


def offered(*nals: bytes) -> ParameterSets:
    return ParameterSets(",".join(base64.b64encode(nal).decode() for nal in nals))


def test_each_number_has_its_own_place_and_sequences_stand_in_front() -> None:
    sets = ParameterSets()
    for nal in (picture_set(0), sequence_set(0), picture_set(1), sequence_set(1)):
        sets.keep(nal)
    assert sets.nals == [sequence_set(0), sequence_set(1), picture_set(0), picture_set(1)]


def test_a_set_of_the_same_number_replaces_the_former() -> None:
    sets = offered(sequence_set(0, width=320), picture_set(0))
    sets.keep(sequence_set(0, width=640))
    assert sets.nals == [sequence_set(0, width=640), picture_set(0)]
    assert sets.sequence_of(IDR) == SequenceHeader(0, 66, 640, 192)


def test_the_sets_of_the_offer_count_and_what_is_broken_in_it_does_not() -> None:
    good = base64.b64encode(sequence_set(3)).decode()
    assert ParameterSets(f"=broken=,,{good},AAAA").nals == [sequence_set(3)]


def test_a_slice_is_decodable_once_the_sets_that_it_refers_to_are_known() -> None:
    sets = ParameterSets()
    second = SliceHeader(0, is_intra=True, picture_set_id=1)
    assert sets.trouble_with(second) is Trouble.NO_PARAMETER_SETS
    sets.keep(picture_set(1, sequence=2))
    assert sets.trouble_with(second) is Trouble.NO_PARAMETER_SETS, "its sequence is not known"
    sets.keep(sequence_set(2))
    assert sets.trouble_with(second) is None
    assert sets.trouble_with(IDR) is Trouble.NO_PARAMETER_SETS


@pytest.mark.parametrize(
    ("sequence", "picture"),
    [
        (sequence_set(profile_idc=88), picture_set()),
        (sequence_set(), picture_set(slice_groups=2)),
        (sequence_set(width=16_384, height=8_192), picture_set()),
        (sequence_set(width=4_096, height=4_096, references=16), picture_set()),
    ],
    ids=["Extended", "FMO", "too large", "too many references"],
)
def test_what_workers_do_not_decode_is_said(sequence: bytes, picture: bytes) -> None:
    assert offered(sequence, picture).trouble_with(IDR) is Trouble.UNSUPPORTED_PROFILE


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 255), st.integers(0, MAX_SET_BYTES + 50)), max_size=60))
def test_they_stay_within_their_bounds_whatever_comes(given_sets: list[tuple[bool, int, int]]) -> None:
    sets = ParameterSets()
    for is_sequence, number, padding in given_sets:
        nal = sequence_set(number % 32) if is_sequence else picture_set(number)
        sets.keep(nal + b"\x01" * padding)
        assert sum(map(len, sets.nals)) <= MAX_BYTES
        assert all(len(kept) <= MAX_SET_BYTES for kept in sets.nals)


def test_what_was_not_sent_for_longest_is_forgotten_first() -> None:
    sets, padding = ParameterSets(), b"\x01" * (MAX_SET_BYTES - 100)
    sets.keep(sequence_set(0))
    for number in range(20):
        sets.keep(picture_set(number) + padding)
    assert sets.nals[0] == sequence_set(0)
    assert sets.nals[-1] == picture_set(19) + padding
    assert picture_set(0) + padding not in sets.nals
