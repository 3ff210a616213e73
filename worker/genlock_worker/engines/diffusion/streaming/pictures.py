"""Pictures of finished chunks: decoded beside the forwards that follow, those of several sessions in one call.

The next forward does not need the pictures of this one, so the decoder has a thread of its own, and on a GPU a stream
of its own: while it works the engine takes in, encodes and denoises the next chunks. The decoder's half of every
`VaeStream` is touched here alone, a session's chunks in the order in which they were finished, so the pictures are
those of decoding at once: to the bit where a call has one row, else to rounding.
"""

from collections.abc import Sequence
from concurrent.futures import Future

from torch import Tensor

from genlock_core.clock import Clock
from genlock_worker.engines.contract import Frames, Row
from genlock_worker.engines.diffusion.network.coding.coders import SPATIAL_STRIDE
from genlock_worker.engines.diffusion.network.vae import StreamingVae, VaeStream
from genlock_worker.engines.diffusion.streaming.device_progress import DeviceProgress, DeviceTimer
from genlock_worker.engines.diffusion.streaming.transfers import download
from genlock_worker.engines.diffusion.streaming.vae_thread import Piece, VaeThread, rows_at_once


class PictureDecoder:
    """Decodes for all sessions of an engine. `decode` and `prime` are called on the engine's thread and do not wait.

    `overlap` False: they do the work themselves, before they return. `memory_bytes` is what one call may need beside
    what is set aside for the sessions: as many rows run together as that allows, and one in any case.
    """

    def __init__(self, vae: StreamingVae, *, clock: Clock, overlap: bool, memory_bytes: int) -> None:
        self._vae = vae
        self._memory_bytes = memory_bytes
        self.timer = DeviceTimer(vae.device, clock)
        """Of the chunks that were decoded."""
        self._progress = DeviceProgress(vae.device)
        self._thread: VaeThread[Tensor, Frames] = VaeThread(
            "decode",
            vae.device,
            past="shown",
            kind=vae.decoding_kind,
            most=self._most,
            run=self._decode,
            overlap=overlap,
        )

    @property
    def parts(self) -> int:
        """Calls that the device has finished; may be read on any thread."""
        return self._progress.parts

    def decode(self, row: Row, stream: VaeStream, latents: Tensor) -> Future[Frames]:
        """The pictures (frames, height, width, 3) of a chunk's last row, of its session's stream and output latents.

        The future raises EngineFailure for a chunk that cannot be decoded or whose pictures are not finite.
        """
        return self._thread.submit(row, stream, latents)

    def prime(self, stream: VaeStream, latents: Sequence[Tensor]) -> Future[None]:
        """Decode what was shown already, so that the stream remembers it; each item counts as a part.

        The future raises RuntimeError or ValueError for latents that give no pictures.
        """

        def work() -> None:
            for item in latents:
                (shown,) = self._decoded([stream], [item])
                if isinstance(shown, Exception):
                    raise shown

        return self._thread.alone(work)

    def stop(self) -> None:
        """End the thread after what it is at; what waits is forgotten."""
        self._thread.stop()

    def _most(self, latents: Tensor) -> int:
        height, width = (side * SPATIAL_STRIDE for side in latents.shape[-2:])
        return rows_at_once(self._memory_bytes, self._vae.call_bytes(height, width).decode)

    def _decode(self, pieces: Sequence[Piece[Tensor, Frames]]) -> Sequence[Frames | Exception]:
        with self.timer.piece(len(pieces)):
            return self._decoded([piece.stream for piece in pieces], [piece.item for piece in pieces])

    def _decoded(self, streams: Sequence[VaeStream], latents: Sequence[Tensor]) -> list[Frames | Exception]:
        """Waits for the device: nothing that it reads is let go, and no memory used again, while it may still read."""
        decoded = self._vae.decode_together(streams, latents)
        try:
            pixels = [download(each) for each in decoded]
            told = [None if stream.finite is None else download(stream.finite) for stream in streams]
            self._progress.queued()
            self._progress.wait()
        except RuntimeError as problem:  # also where there is no pinned memory; the streams have moved on
            return [problem] * len(streams)

        shown: list[Frames | Exception] = []
        for each, finite in zip(pixels, told, strict=True):
            if finite is not None and not bool(finite):
                shown.append(ValueError("its pictures are not finite (NaN or infinite)"))
            else:
                frames: Frames = each.numpy()
                shown.append(frames)
        return shown
