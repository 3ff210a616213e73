"""What is asked and answered survives the way; whatever else a decoder's process sends is no answer."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.media import AccessUnit, Codec, Trouble
from genlock_core.spec.session import PictureFit
from genlock_worker.intake.out_of_process import wire
from genlock_worker.intake.out_of_process.wire import (
    MAX_FRAMES,
    Answer,
    Decode,
    Decoded,
    Drain,
    Fetch,
    Fetched,
    FrameFacts,
    Garbled,
    OutOfMemory,
    Request,
)

SIDES = st.integers(1, 0xFFFF)
TIMES = st.integers(-(2**63), 2**63 - 1)
COUNTS = st.integers(0, 2**32 - 1)
UNITS = st.builds(AccessUnit, st.sampled_from(Codec), st.binary(max_size=300), st.booleans(), TIMES)
FETCHES = st.builds(Fetch, st.integers(0, 255), SIDES, SIDES, st.sampled_from(PictureFit))
REQUESTS: st.SearchStrategy[Request] = st.one_of(
    st.builds(Decode, UNITS, st.booleans(), st.none() | FETCHES),
    st.just(Drain()),
    FETCHES,
)
ANSWERS: st.SearchStrategy[Answer] = st.one_of(
    st.builds(
        Decoded,
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.none() | st.sampled_from(Trouble),
        COUNTS,
        COUNTS,
        st.lists(st.builds(FrameFacts, TIMES, SIDES, SIDES), max_size=MAX_FRAMES).map(tuple),
    ),
    st.just(Fetched()),
    st.just(OutOfMemory()),
)


def reader(data: bytes) -> wire.Read:
    stream = io.BytesIO(data)

    def read(size: int) -> bytes:
        taken = stream.read(size)
        if len(taken) < size:
            raise EOFError
        return taken

    return read


@given(st.lists(REQUESTS, max_size=4))
def test_requests_come_out_as_they_went_in(requests: list[Request]) -> None:
    read = reader(b"".join(map(wire.pack_request, requests)))
    assert [wire.read_request(read) for _ in requests] == requests


@given(st.lists(ANSWERS, max_size=4))
def test_answers_come_out_as_they_went_in(answers: list[Answer]) -> None:
    read = reader(b"".join(map(wire.pack_answer, answers)))
    assert [wire.read_answer(read) for _ in answers] == answers


@given(st.binary(max_size=200))
def test_whatever_comes_is_an_answer_or_is_refused(data: bytes) -> None:
    try:
        answer = wire.read_answer(reader(data))
    except (Garbled, EOFError):
        return
    assert wire.pack_answer(answer) == data[: len(wire.pack_answer(answer))]


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"\4",
        b"\1" + bytes([2, 0, 0, 0]) + bytes(9),
        b"\1" + bytes([0, 0, 0, 200]) + bytes(9),
        b"\1" + bytes([0, 0, 0, 0]) + bytes(8) + b"\1" + bytes(12),
    ],
    ids=["no kind", "another kind", "a flag of two", "no such trouble", "a picture without a size"],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(Garbled):
        wire.read_answer(reader(data))
