"""Pictures of finished chunks: decoded one after the other, beside the forwards that follow.

The next forward does not need the pictures of this one, so the decoder has a thread of its own, and on a GPU a stream
of its own: while it works the engine takes in, encodes and denoises the next chunks. The decoder's half of every
`VaeStream` is touched here alone, in the order in which chunks were finished, so the pictures are those of decoding at
once, to the bit.
"""

import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, nullcontext
from queue import SimpleQueue
from typing import TypeVar

import torch
from torch import Tensor

from genlock_core.clock import Clock
from genlock_worker.engines.contract import EngineFailure, Frames, Row
from genlock_worker.engines.diffusion.network.vae import StreamingVae, VaeStream
from genlock_worker.engines.diffusion.streaming.device_progress import DeviceProgress, DeviceTimer
from genlock_worker.engines.diffusion.streaming.transfers import download

logger = logging.getLogger(__name__)

T = TypeVar("T")

STOP_S = 2.0
"""How long the end of the decoder's thread is waited for: a process that ends while it works on a device is aborted."""


class PictureDecoder:
    """Decodes for all sessions of an engine. `decode` and `prime` are called on the engine's thread and do not wait.

    `overlap` False: they do the work themselves, before they return.
    """

    def __init__(self, vae: StreamingVae, *, clock: Clock, overlap: bool) -> None:
        self._vae = vae
        self.timer = DeviceTimer(vae.device, clock)
        """Of the chunks that were decoded."""
        self._progress = DeviceProgress(vae.device)
        self._executor: Executor = AtOnce()
        self._stream: torch.cuda.Stream | None = None
        if overlap:
            self._executor = OneThread("decode")
            if vae.device.type == "cuda":
                self._stream = torch.cuda.Stream(vae.device)  # type: ignore[no-untyped-call]

    @property
    def parts(self) -> int:
        """Chunks that the device has decoded; may be read on any thread."""
        return self._progress.parts

    def decode(self, row: Row, stream: VaeStream, latents: Tensor) -> Future[Frames]:
        """The pictures (frames, height, width, 3) of a chunk's last row, of its session's stream and output latents.

        The future raises EngineFailure for a chunk that cannot be decoded or whose pictures are not finite.
        """

        def work() -> Frames:
            try:
                with self.timer.piece():
                    return self._decoded(stream, latents)
            except (RuntimeError, ValueError) as problem:  # torch.OutOfMemoryError is one
                logger.error("%s: chunk %d cannot be shown: %s", row.session, row.chunk, problem)
                raise EngineFailure(row.session, f"chunk {row.chunk} cannot be shown: {problem}") from problem

        return self._submit(work)

    def stop(self) -> None:
        """End the thread after what it is at; what waits is forgotten."""
        if isinstance(self._executor, OneThread):
            self._executor.stop()

    def prime(self, stream: VaeStream, latents: Sequence[Tensor]) -> Future[None]:
        """Decode what was shown already, so that the stream remembers it; each item counts as a part.

        The future raises RuntimeError or ValueError for latents that give no pictures.
        """

        def work() -> None:
            for item in latents:
                self._decoded(stream, item)

        return self._submit(work)

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        if self._stream is None:
            return self._executor.submit(work)

        queued = torch.cuda.Event()  # type: ignore[no-untyped-call]  # the library has no types
        queued.record(torch.cuda.current_stream(self._vae.device))

        def after_what_is_queued() -> T:
            with self._on_stream():
                torch.cuda.current_stream().wait_event(queued)
                return work()

        return self._executor.submit(after_what_is_queued)

    def _on_stream(self) -> AbstractContextManager[object]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def _decoded(self, stream: VaeStream, latents: Tensor) -> Frames:
        """Waits for the device: nothing that it reads is let go, and no memory used again, while it may still read."""
        pixels = download(self._vae.decode(stream, latents))
        told = stream.finite
        finite = None if told is None else download(told)
        self._progress.queued()
        self._progress.wait()
        if finite is not None and not bool(finite):
            raise ValueError("its pictures are not finite (NaN or infinite)")

        frames: Frames = pixels.numpy()
        return frames


class OneThread(Executor):
    """Runs what is submitted in order on a thread that ends with this object.

    A daemon, unlike the threads of ThreadPoolExecutor: a device that hangs must not keep the process from ending.
    """

    def __init__(self, name: str) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=_serve, args=(self._work,), name=name, daemon=True)
        self._thread.start()
        weakref.finalize(self, self._work.put, None)

    def stop(self) -> None:
        """End the thread after what it is at, and wait a little for that: a device may hang."""
        while not self._work.empty():
            self._work.get()
        self._work.put(None)
        self._thread.join(STOP_S)

    def submit(self, fn: Callable[..., T], /, *args: object, **kwargs: object) -> Future[T]:
        future: Future[T] = Future()
        self._work.put(lambda: _fulfil(future, lambda: fn(*args, **kwargs)))
        return future


class AtOnce(Executor):
    """Runs what is submitted in the caller's thread, before `submit` returns."""

    def submit(self, fn: Callable[..., T], /, *args: object, **kwargs: object) -> Future[T]:
        future: Future[T] = Future()
        _fulfil(future, lambda: fn(*args, **kwargs))
        return future


def _serve(work: "SimpleQueue[Callable[[], None] | None]") -> None:
    while (item := work.get()) is not None:
        item()
        del item  # what it holds is let go before the next one comes


def _fulfil(future: Future[T], work: Callable[[], T]) -> None:
    try:
        result = work()
    except Exception as problem:  # noqa: BLE001 - whoever asks the future gets it
        future.set_exception(problem)
    else:
        future.set_result(result)
