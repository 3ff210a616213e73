"""Encoding beside the forwards: the same latents, in order, those of several sessions in one call."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from genlock_core.clock import ManualClock
from genlock_worker.engines.algorithm import noise
from genlock_worker.engines.contract import EngineFailure
from genlock_worker.engines.diffusion.network.vae import CallBytes, StreamingVae, VaeStream
from genlock_worker.engines.diffusion.streaming import inputs
from genlock_worker.engines.diffusion.streaming.inputs import ChunkInput, InputEncoder
from tests.worker.engines.diffusion.streams import BlockVae, chunk, components

PATIENCE_S = 20


def given(index: int, *, scene: int = 0, scale: float = 0.6) -> ChunkInput:
    frames = chunk(index, scene=scene).frames
    assert frames is not None
    return ChunkInput(index, frames, scale=scale, seed=7)


def encoder(vae: StreamingVae, *, overlap: bool = True, memory_bytes: int = 10**9) -> InputEncoder:
    return InputEncoder(vae, dtype=torch.float32, clock=ManualClock(), overlap=overlap, memory_bytes=memory_bytes)


class Counting(BlockVae):
    """Counts the rows of each call, and encodes when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []
        self.threads: set[str] = set()
        self.let = threading.Event()
        self.asked = threading.Event()
        self.fails: Callable[[Sequence[VaeStream]], bool] = lambda _: False

    def encode_together(self, streams: Sequence[VaeStream], frames: Sequence[Tensor]) -> list[Tensor]:
        self.asked.set()
        assert self.let.wait(PATIENCE_S)
        self.calls.append(len(streams))
        self.threads.add(threading.current_thread().name)
        if self.fails(streams):
            raise torch.OutOfMemoryError("no room")
        return super().encode_together(streams, frames)

    def call_bytes(self, height: int, width: int) -> CallBytes:
        return CallBytes(encode=height * width, decode=0)


def first_chunks(one: InputEncoder, vae: Counting, streams: Sequence[VaeStream]) -> list[Future[Tensor]]:
    """A first chunk for each stream; all but the first are handed over while the encoder is at that one."""
    made: list[Future[Tensor]] = []
    for number, stream in enumerate(streams):
        made.append(one.encode(f"s{number}", stream, given(0, scene=number)))
        assert vae.asked.wait(PATIENCE_S)
    assert not any(one.done() for one in made)
    vae.let.set()
    for future in made:
        future.exception(PATIENCE_S)
    return made


def test_what_waits_is_encoded_in_one_call_and_each_gets_its_own() -> None:
    vae = Counting()
    one = encoder(vae)
    made = first_chunks(one, vae, [vae.open() for _ in range(5)])
    assert vae.calls == [1, 4]
    assert vae.threads == {"encode"}
    for number, future in enumerate(made):
        alone = encoder(BlockVae(), overlap=False).encode("s", vae.open(), given(0, scene=number))
        assert torch.equal(future.result(), alone.result())
    one.stop()


def test_a_call_takes_no_more_than_there_is_memory_for() -> None:
    vae = Counting()
    one = encoder(vae, memory_bytes=2 * 64 * 64)
    first_chunks(one, vae, [vae.open() for _ in range(5)])
    assert vae.calls == [1, 2, 2]
    one.stop()


def test_a_chunk_that_cannot_be_encoded_is_its_sessions_failure_alone() -> None:
    vae = Counting()
    streams = [vae.open() for _ in range(4)]
    vae.fails = lambda called: streams[2] in called
    one = encoder(vae)
    made = first_chunks(one, vae, streams)
    assert vae.calls == [1, 3, 1, 1, 1]
    with pytest.raises(EngineFailure, match="s2: chunk 0 cannot be taken in: no room"):
        made[2].result()
    assert all(made[number].result().shape[0] == 2 for number in (0, 1, 3))
    assert [bool(stream.encoded) for stream in streams] == [True, True, False, True]
    one.stop()


@pytest.mark.parametrize("overlap", [True, False])
def test_a_first_rows_input_is_the_latents_of_its_place_in_the_stream_mixed_with_its_noise(*, overlap: bool) -> None:
    vae = components().vae
    one = encoder(vae, overlap=overlap)
    stream, again = vae.open(), vae.open()
    made = [one.encode("s", stream, given(index, scale=0.1 * (index + 1))) for index in range(4)]
    for index, future in enumerate(made):
        frames = chunk(index).frames
        assert frames is not None
        z = vae.encode(again, torch.from_numpy(frames))
        eps = torch.from_numpy(noise.draw(seed=7, chunk=index, step=0, shape=tuple(z.shape)))
        scale = 0.1 * (index + 1)
        assert torch.equal(future.result(PATIENCE_S), scale * eps + (1.0 - scale) * z)
    assert one.parts == 4
    one.stop()


def test_the_encoder_does_not_touch_what_the_decoder_remembers() -> None:
    vae = components().vae
    stream, alone = vae.open(), vae.open()
    one = encoder(vae)
    pictures = []
    for index in range(3):
        latents = torch.full((2 if index == 0 else 1, 16, 8, 8), 0.3 * (index + 1))
        coming = one.encode("s", stream, given(index))
        pictures.append((vae.decode(stream, latents), vae.decode(alone, latents)))
        coming.result(PATIENCE_S)
    assert all(torch.equal(*pair) for pair in pictures)
    assert (stream.encoded, stream.decoded, alone.encoded) == (4, 4, 0)
    one.stop()


@pytest.mark.parametrize("taken", [range(3), range(2, 6)])
def test_a_primed_encoder_goes_on_as_the_one_that_took_the_chunks_in(taken: range) -> None:
    vae = components().vae
    live, primed = vae.open(), vae.open()
    one = encoder(vae)
    frames = [given(index).frames for index in range(taken.stop)]
    for each in frames:
        vae.encode(live, torch.from_numpy(each))
    one.prime(primed, frames[taken.start :]).result(PATIENCE_S)
    assert one.parts == len(taken)

    following = given(taken.stop)
    expected = encoder(vae, overlap=False).encode("s", live, following).result()
    difference = float((one.encode("s", primed, following).result(PATIENCE_S) - expected).abs().max())
    assert difference < (1e-6 if taken.start == 0 else 4e-4)
    assert primed.encoded == live.encoded - taken.start
    one.stop()


def test_what_priming_raises_is_told() -> None:
    one = encoder(BlockVae())
    with pytest.raises(ValueError, match="3 frames cannot be coded"):
        one.prime(BlockVae().open(), [np.zeros((3, 64, 64, 3), np.uint8)]).result(PATIENCE_S)
    one.stop()


def test_what_fails_once_the_streams_have_moved_on_is_not_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a call's latents one cannot be mixed with its noise: no pinned memory is no OutOfMemoryError."""
    vae = Counting()
    mixed = inputs.noised

    def noised(item: ChunkInput, latents: Tensor, *, dtype: torch.dtype) -> Tensor:
        if item.seed == 9:
            raise RuntimeError("no pinned memory")
        return mixed(item, latents, dtype=dtype)

    monkeypatch.setattr(inputs, "noised", noised)
    one = encoder(vae)
    items = [given(0), given(0, scene=1), replace(given(0), seed=9)]
    made = [one.encode(f"s{number}", vae.open(), item) for number, item in enumerate(items)]
    vae.let.set()
    with pytest.raises(EngineFailure, match="s2: chunk 0 cannot be taken in: no pinned memory"):
        made[2].result(PATIENCE_S)
    alone = encoder(BlockVae(), overlap=False).encode("s", vae.open(), given(0, scene=1))
    assert torch.equal(made[1].result(PATIENCE_S), alone.result())
    assert sum(vae.calls) == 3
    one.stop()


def test_a_device_that_cannot_be_waited_for_fails_what_was_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    vae = Counting()
    vae.let.set()
    one = encoder(vae)

    def gone(queued: object) -> AbstractContextManager[object]:
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(one._thread, "_on_stream", gone)
    with pytest.raises(EngineFailure, match="s: chunk 0 cannot be taken in: CUDA error"):
        one.encode("s", vae.open(), given(0)).result(PATIENCE_S)
    one.stop()
