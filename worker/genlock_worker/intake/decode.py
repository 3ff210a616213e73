"""From coded pictures to RGB pictures of the session's size: decodes a publisher's access units, where it is called.

Stands between the sources, which say what comes next, and the chunks, which hold pictures of one size. A publisher's
data is not to be trusted: whatever arrives, `Decoder.decode` gives frames or nothing, and `needs_key_frame` says when
only a key frame can help. There is one decoder per session and publication, called on one thread at a time. What its
faults may take with them is decided by who calls it: the worker itself, or a process of its own (`out_of_process`).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.codec.context import Flags, ThreadType
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from genlock_core.bitstreams.picture_size import MAX_PICTURES_BYTES, MAX_SIDE, size_mistake
from genlock_core.bounds import OBJECT_BYTES, ByteLimit, Holdings
from genlock_core.media import AccessUnit, Codec, Trouble
from genlock_core.spec.session import PictureFit
from genlock_worker.intake.picture import Picture, fit_picture

logger = logging.getLogger(__name__)

MAX_REORDERED = 16
"""H264 may hold back so many pictures to put them in order (ITU-T H.264 section A.3.1)."""
MAX_PICTURELESS = 150
"""Units in a row without a picture, after which the decoder is given up: a refresh by recovery point takes seconds."""
MAX_KEPT_UNITS = 128
MAX_KEPT_BYTES = 8 * 1024 * 1024
KEPT_LIMIT = ByteLimit(
    "a publisher's pictures since the last key frame, where they are reordered",
    MAX_KEPT_BYTES,
    each="session",
    when_full="they are dropped: a stream that stood still goes on with its next key frame",
)
"""It may go on after `drain`."""
PICTURES_LIMIT = ByteLimit(
    "decoded pictures that later ones refer to, or that are held back",
    MAX_PICTURES_BYTES,
    each="session",
    when_full="the stream is refused (unsupported-profile)",
)
_H264_IDR = 5
_DECODERS = {Codec.H264: "h264", Codec.VP8: "vp8"}


@dataclass(frozen=True, slots=True)
class LocalFrame:
    """A decoded picture in this process."""

    decoded: VideoFrame

    @property
    def pts(self) -> int | None:
        return self.decoded.pts

    @property
    def width(self) -> int:
        return self.decoded.width

    @property
    def height(self) -> int:
        return self.decoded.height

    def fitted(self, *, width: int, height: int, fit: PictureFit = PictureFit.CROP) -> Picture:
        """In RGB and of that size."""
        return fit_frame(self.decoded, width=width, height=height, fit=fit)


class Decoder:
    """Decodes access units in decoding order; the pictures come out in the order in which they are shown.

    A stream without reordered pictures has no delay here (one thread, no frame threads). The others are delayed by as
    many pictures as they state, or as they turn out to need, at most `MAX_REORDERED`. Whoever sees that such a stream
    stands still calls `drain`, else its last pictures would stay inside.
    """

    def __init__(self, codec: Codec, *, holdings: Holdings | None = None) -> None:
        holdings = holdings or Holdings()
        self._picture_bytes = holdings.bound(PICTURES_LIMIT)
        self._kept_bytes = holdings.bound(KEPT_LIMIT)
        self.codec = codec
        self.needs_key_frame = True
        """Nothing can be decoded until the next key frame: at the start, after a gap and after corrupt data."""
        self.failures = 0
        self.trouble: Trouble | None = None
        """Why the last key frames gave no picture; None once one did."""
        self.out_of_memory = False
        """FFmpeg was refused memory. In a process with a limit, that is the end of it."""
        self._context = self._open()
        self._first_us: int | None = None
        self._pictureless = 0
        self._most_pictureless = 0
        self._kept: list[AccessUnit] = []
        """Everything since the last key frame; empty where pictures are not reordered, and after too much."""
        self._is_drained = False

    def _open(self) -> VideoCodecContext:
        context = av.CodecContext.create(_DECODERS[self.codec], "r")
        if not isinstance(context, VideoCodecContext):
            raise TypeError(f"{self.codec.name} is not a video codec here")
        context.thread_count = 1
        context.thread_type = ThreadType.SLICE
        context.flags |= Flags.low_delay
        # What `size_mistake` has not seen, FFmpeg refuses by itself before it takes memory.
        context.options = {"max_pixels": str(MAX_SIDE * MAX_SIDE)}
        return context

    def decode(self, unit: AccessUnit) -> Sequence[LocalFrame]:
        """As in `VideoDecoder`."""
        if self.needs_key_frame and not unit.key_frame:
            return []
        if mistake := size_mistake(unit.codec, unit.data):
            self._too_large(mistake)
            return []
        if self.needs_key_frame:
            self._start(unit)

        try:
            if self._is_drained:
                self._resume()
            frames = self._context.decode(_packet(unit))
        except FFmpegError as error:
            self._failed(error)
            return []

        if mistake := self._held_back_mistake():
            self._too_large(mistake)
            return []
        self._keep(unit)
        self._pictureless = 0 if frames else self._pictureless + 1
        if self._pictureless > self._patience:
            self._broken(f"{self._pictureless} units without a picture")
            return []
        return self._shown(frames)

    @property
    def holds(self) -> bool:
        """Pictures may be held back, and `drain` gives them."""
        return bool(self._kept) and not self._is_drained and not self.needs_key_frame

    def drain(self) -> Sequence[LocalFrame]:
        """The pictures that are held back, for a stream that stands still. It may go on afterwards."""
        if not self.holds:
            return []
        self._is_drained = True
        try:
            return self._shown(self._context.decode(None))
        except FFmpegError as error:
            self._failed(error)
            return []

    def _resume(self) -> None:
        """Raises FFmpegError."""
        # FFmpeg takes nothing after the end that drains it: a new decoder sees what the old one saw.
        self._is_drained = False
        self._context = self._open()
        for unit in self._kept:
            self._context.decode(_packet(unit))

    def _keep(self, unit: AccessUnit) -> None:
        if unit.key_frame:
            self._forget_kept()
        elif not self._kept:
            return
        fits = len(self._kept) < MAX_KEPT_UNITS and self._kept_bytes.take(len(unit.data) + OBJECT_BYTES)
        if fits and self._context.has_b_frames:
            self._kept.append(unit)
        else:
            self._forget_kept()

    def _forget_kept(self) -> None:
        self._kept.clear()
        self._kept_bytes.clear()

    def _shown(self, frames: list[VideoFrame]) -> list[LocalFrame]:
        # Pictures that are shown before an open group's first one may refer to what was before it.
        shown = [frame for frame in frames if self._first_us is None or (frame.pts or 0) >= self._first_us]
        for frame in shown:
            if frame.is_corrupt:
                self._broken("corrupt picture")
                return []

        if shown:
            self.trouble = None
            self._most_pictureless = MAX_PICTURELESS
        return [LocalFrame(frame) for frame in shown]

    def _held_back_mistake(self) -> str:
        """Why this stream's pictures are too large to be held back until it is their turn; "" if they are not.

        The decoder learns how many it must hold, and takes their memory one by one.
        """
        context = self._context
        if context.format is None:
            return ""
        picture_bytes = context.width * context.height * context.format.padded_bits_per_pixel // 8
        held_bytes = (context.has_b_frames + 1) * picture_bytes
        return "" if self._picture_bytes.hold(held_bytes) else f"{held_bytes} bytes of pictures held back"

    def _too_large(self, mistake: str) -> None:
        self._broken(f"too large: {mistake}")
        self.trouble = Trouble.UNSUPPORTED_PROFILE

    def _start(self, unit: AccessUnit) -> None:
        """With an IDR the picture is there at once; a recovery point may take a while to refresh it."""
        is_clean = self.codec is not Codec.H264 or _has_idr(unit.data)
        self._first_us = None if is_clean else unit.capture_us
        self._most_pictureless = 1 if is_clean else MAX_PICTURELESS
        self._pictureless = 0
        self._forget_kept()
        self.needs_key_frame = False

    @property
    def _patience(self) -> int:
        """How many units may bring no picture; a single one does not when it is the first field of two."""
        return max(self._most_pictureless, MAX_REORDERED + 1 if self._context.has_b_frames else 0)

    def gap(self) -> None:
        """Units were lost before the decoder: what follows refers to pictures that it does not have."""
        self.needs_key_frame = True

    def close(self) -> None:
        """Nothing is left to do: what it holds goes with it."""

    def _failed(self, error: FFmpegError) -> None:
        self.out_of_memory = self.out_of_memory or isinstance(error, MemoryError)
        self._broken(f"{type(error).__name__}: {error}")

    def _broken(self, reason: str) -> None:
        logger.debug("decoder waits for a key frame: %s", reason)
        self.failures += 1
        self.trouble = Trouble.UNDECODABLE
        self.needs_key_frame = True
        self._forget_kept()
        self._is_drained = False
        self._context = self._open()


def _packet(unit: AccessUnit) -> "av.Packet[Any]":
    packet = av.Packet(unit.data)
    packet.pts = unit.capture_us
    packet.dts = unit.capture_us
    return packet


def _has_idr(data: bytes) -> bool:
    """Whether one of the NAL units of a byte stream is a slice of an IDR picture."""
    at = data.find(b"\x00\x00\x01")
    while at >= 0:
        if data[at + 3 : at + 4] and data[at + 3] & 0x1F == _H264_IDR:
            return True
        at = data.find(b"\x00\x00\x01", at + 3)
    return False


def fit_frame(frame: VideoFrame, *, width: int, height: int, fit: PictureFit = PictureFit.CROP) -> Picture:
    """A decoded frame of any size and pixel format as an RGB picture of `width` x `height`."""
    # FFmpeg would make threads for each picture anew, which takes eight times as long.
    picture = np.asarray(frame.to_ndarray(format="rgb24", threads=1), dtype=np.uint8)
    return fit_picture(picture, width=width, height=height, fit=fit)


class InProcess:
    """Decoding in the worker itself: a fault of libavcodec is a fault of the worker."""

    def for_session(self, session: str) -> type[Decoder]:  # noqa: ARG002 - all sessions decode alike
        return Decoder
