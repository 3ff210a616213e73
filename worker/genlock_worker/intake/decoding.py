"""What a session's intake asks of a decoder, wherever that runs.

There are two of them, which give the same pictures: `decode.Decoder` decodes where it is called, in the worker itself.
`out_of_process.decoder.OutOfProcessDecoder` has that same decoder in a process of its own, with a memory limit. A
worker's `Decoding` is one or the other (`--decode-process`).
"""

from collections.abc import Sequence
from typing import Protocol

from genlock_core.bounds import Holdings
from genlock_core.media import AccessUnit, Codec, Trouble
from genlock_core.spec.session import PictureFit
from genlock_worker.intake.picture import Picture


class DecodedFrame(Protocol):
    """A picture as it was sent. Its decoder keeps it until it is called again."""

    @property
    def pts(self) -> int | None:
        """The capture time of its own unit, in microseconds."""
        ...

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    def fitted(self, *, width: int, height: int, fit: PictureFit = PictureFit.CROP) -> Picture | None:
        """In RGB and of that size. None: its decoder was lost meanwhile, and needs a key frame."""
        ...


class VideoDecoder(Protocol):
    """Decodes one publication, on one thread at a time. Only `close` may be called beside another call."""

    @property
    def codec(self) -> Codec: ...

    @property
    def needs_key_frame(self) -> bool:
        """Nothing can be decoded until the next key frame: at the start, after a gap and after corrupt data."""
        ...

    @property
    def trouble(self) -> Trouble | None:
        """Why the last key frames gave no picture; None once one did."""
        ...

    @property
    def holds(self) -> bool:
        """Pictures may be held back, and `drain` gives them."""
        ...

    def decode(self, unit: AccessUnit) -> Sequence[DecodedFrame]:
        """The pictures that come out with this unit.

        Empty: not decodable without a key frame, corrupt, held back, or no picture in it.
        """
        ...

    def drain(self) -> Sequence[DecodedFrame]:
        """The pictures that are held back, for a stream that stands still. It may go on afterwards."""
        ...

    def gap(self) -> None:
        """Units were lost before the decoder: what follows refers to pictures that it does not have."""
        ...

    def close(self) -> None:
        """It is not needed any more. A call that is under way gives nothing."""
        ...


class Decoders(Protocol):
    """Makes the decoders of one session, one for each publication."""

    def __call__(self, codec: Codec, *, holdings: Holdings) -> VideoDecoder:
        """`holdings`: where the decoder says how many bytes it holds."""
        ...


class Decoding(Protocol):
    """How a worker decodes."""

    def for_session(self, session: str) -> Decoders: ...
