"""Decoding beside the forwards that follow: the same pictures, in order, and nobody waits for them."""

import gc
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from genlock_core.clock import ManualClock
from genlock_worker.engines.contract import EngineFailure, Frames, Row
from genlock_worker.engines.diffusion.network.vae import CallBytes, VaeStream
from genlock_worker.engines.diffusion.streaming.one_thread import OneThread
from genlock_worker.engines.diffusion.streaming.pictures import PictureDecoder
from genlock_worker.engines.diffusion.streaming.vae_thread import Piece, together
from tests.worker.engines.diffusion.streams import BlockVae, StreamBatch, chunk, engine, settings, stored


class Patient(BlockVae):
    """Decodes when it is let; notes on which threads, and in which order."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()
        self.asked = threading.Event()
        self.let.set()
        self.threads: list[str] = []
        self.streams: list[VaeStream] = []

    def decode(self, stream: VaeStream, latents: Tensor) -> Tensor:
        self.asked.set()
        assert self.let.wait(20)
        self.threads.append(threading.current_thread().name)
        self.streams.append(stream)
        return super().decode(stream, latents)


def test_the_next_chunk_is_denoised_while_one_is_being_decoded() -> None:
    vae = Patient()
    one = engine(vae=vae)
    one.open("s", settings(steps=1))
    vae.let.clear()
    one.feed("s", chunk(0))
    (first,) = one.run([Row("s", 0, 0)])
    assert vae.asked.wait(20)
    one.feed("s", chunk(1))
    (second,) = one.run([Row("s", 0, 1)])
    assert first.pictures is not None
    assert second.pictures is not None
    assert (first.pictures.done(), second.pictures.done()) == (False, False)
    vae.let.set()
    assert second.pictures.result(20).shape[0] == 4
    assert first.pictures.done(), "those of one session come in order"
    assert set(vae.threads) == {"decode"}


def test_without_overlap_pictures_are_there_when_a_micro_step_returns() -> None:
    vae = Patient()
    one = engine(vae=vae, overlap=False)
    one.open("s", settings(steps=1))
    one.feed("s", chunk(0))
    (result,) = one.run([Row("s", 0, 0)])
    assert result.pictures is not None
    assert result.pictures.done()
    assert vae.threads == [threading.current_thread().name]


def streamed(*, overlap: bool) -> dict[str, list[Frames]]:
    """Two sessions as stream batches with the real VAE, one of them restored half way; nobody waits for pictures."""
    one = engine(overlap=overlap)
    streams = {}
    for name, steps in (("a", 1), ("b", 3)):
        one.open(name, settings(steps=steps))
        streams[name] = StreamBatch(one, name)
    for index in range(9):
        for number, stream in enumerate(streams.values()):
            stream.round(chunk(index, scene=number))
        if index == 4:
            state = stored(one.snapshot("b"))
            one.close("b")
            one.restore("b", settings(steps=3), state)
    return {name: [stream.outputs[index] for index in sorted(stream.outputs)] for name, stream in streams.items()}


def test_pictures_are_the_same_to_the_bit_however_they_are_decoded() -> None:
    beside, before = streamed(overlap=True), streamed(overlap=False)
    assert beside.keys() == before.keys()
    for name, pictures in beside.items():
        assert len(pictures) == len(before[name]) > 6
        assert all(np.array_equal(one, other) for one, other in zip(pictures, before[name], strict=True))


def test_a_restore_waits_until_the_decoder_remembers() -> None:
    source = engine(vae=BlockVae())
    source.open("s", settings(steps=1))
    stream = StreamBatch(source, "s")
    for index in range(6):
        stream.round(chunk(index))
    vae = Patient()
    one = engine(vae=vae)
    one.restore("s", settings(steps=1), source.snapshot("s"))
    assert vae.streams == [one._session("s").stream] * one._shared.options.primed_chunks


def test_what_a_decoder_raises_is_the_sessions_failure() -> None:
    class Broken(BlockVae):
        def decode(self, stream: VaeStream, latents: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("no room")

    decoder = PictureDecoder(Broken(), clock=ManualClock(), overlap=True, memory_bytes=0)
    vae = BlockVae()
    pictures = decoder.decode(Row("s", 0, 7), vae.open(), torch.zeros(2, 16, 8, 8))
    with pytest.raises(EngineFailure, match="s: chunk 7 cannot be shown: no room"):
        pictures.result(20)
    with pytest.raises(torch.OutOfMemoryError):
        decoder.prime(vae.open(), [torch.zeros(2, 16, 8, 8)]).result(20)


class Counting(BlockVae):
    """Counts the rows of each call; decodes when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []
        self.let = threading.Event()
        self.asked = threading.Event()
        self.fails: Callable[[int], bool] = lambda rows: False

    def decode_together(self, streams: Sequence[VaeStream], latents: Sequence[Tensor]) -> list[Tensor]:
        self.asked.set()
        assert self.let.wait(20)
        self.calls.append(len(streams))
        if self.fails(len(streams)):
            raise torch.OutOfMemoryError("no room")
        return super().decode_together(streams, latents)

    def call_bytes(self, height: int, width: int) -> CallBytes:
        return CallBytes(encode=0, decode=height * width)


def waiting_chunks(vae: Counting, *, sessions: str, memory_bytes: int = 10**9) -> list[Future[Frames]]:
    """The pictures of chunks that were handed over while the decoder was at the first session's first."""
    decoder = PictureDecoder(vae, clock=ManualClock(), overlap=True, memory_bytes=memory_bytes)
    streams = {name: vae.open() for name in sorted(set(sessions))}
    shown: list[Future[Frames]] = []
    for name in sessions:
        shown.append(decoder.decode(Row(name, 0, len(shown)), streams[name], torch.zeros(1, 16, 8, 8)))
        assert vae.asked.wait(20)
    vae.let.set()
    for pictures in shown:
        pictures.exception(20)
    decoder.stop()
    return shown


@pytest.mark.parametrize(
    ("sessions", "memory_bytes", "calls"),
    [
        ("abcde", 10**9, [1, 4]),  # those that waited, in one call
        ("aabcab", 10**9, [1, 1, 2, 2]),  # a is further than b and c, and nobody is taken twice
        ("abcde", 2 * 64 * 64, [1, 2, 2]),  # as many as there is memory for
        ("abc", 0, [1, 1, 1]),
    ],
)
def test_what_waits_is_decoded_in_one_call(sessions: str, memory_bytes: int, calls: list[int]) -> None:
    vae = Counting()
    waiting_chunks(vae, sessions=sessions, memory_bytes=memory_bytes)
    assert vae.calls == calls


def test_chunks_that_cannot_be_decoded_together_are_decoded_one_by_one() -> None:
    vae = Counting()
    vae.fails = lambda rows: rows > 1
    shown = waiting_chunks(vae, sessions="abc")
    assert vae.calls == [1, 2, 1, 1]
    assert all(len(pictures.result()) == 1 for pictures in shown)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), max_size=12), st.integers(1, 4))
def test_a_call_takes_the_oldest_and_what_is_like_it(waiting: list[tuple[int, int]], most: int) -> None:
    """Streams by number; the pieces of one are alike if they have the same kind."""
    streams = [VaeStream([], []) for _ in range(4)]
    pieces: list[Piece[Tensor, None]] = [
        Piece(Row(str(number), 0, place), streams[number], torch.tensor(kind), None)
        for place, (number, kind) in enumerate(waiting)
    ]
    served: list[Piece[Tensor, None]] = []
    while pieces:
        chosen = together(pieces, lambda _, item: int(item), lambda _: most)
        assert chosen[0] is pieces[0], "the oldest never waits for another"
        assert 1 <= len(chosen) <= most
        assert len({int(piece.item) for piece in chosen}) == 1
        assert len({id(piece.stream) for piece in chosen}) == len(chosen)
        served += chosen
        pieces = [piece for piece in pieces if piece not in chosen]
    for stream in streams:
        own = [piece.row.chunk for piece in served if piece.stream is stream]
        assert own == sorted(own), "a session's chunks come in order"
    assert len(served) == len(waiting)


def test_a_thread_runs_what_it_is_given_in_order_and_ends_with_its_owner() -> None:
    def ran(numbers: Sequence[int]) -> list[int]:
        done: list[int] = []

        def work(number: int) -> Callable[[], None]:
            return lambda: done.append(number)

        thread = OneThread("in order")
        for future in [thread.submit(work(number)) for number in numbers]:
            future.result(20)
        return done

    assert ran(range(50)) == list(range(50))
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "in order":
            thread.join(20)
            assert not thread.is_alive()


def test_what_fails_once_the_streams_have_moved_on_is_not_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    vae = Counting()
    downloads = iter([False, False, True])

    def download(tensor: Tensor) -> Tensor:
        if next(downloads, False):
            raise RuntimeError("no pinned memory")
        return tensor

    monkeypatch.setattr("genlock_worker.engines.diffusion.streaming.pictures.download", download)
    shown = waiting_chunks(vae, sessions="abc")
    assert vae.calls == [1, 2]
    assert [str(one.exception()).endswith("no pinned memory") for one in shown] == [False, True, True]
