"""From coded pictures to RGB pictures of the session's size: decodes a publisher's access units, crops and scales.

Stands between the sources, which say what comes next, and the chunks, which hold pictures of one size. A publisher's
data is not to be trusted: whatever arrives, `Decoder.decode` gives a frame or nothing, and `needs_key_frame` says when
only a key frame can help. There is one decoder per session and publication, called on one thread at a time.
"""

import logging
from dataclasses import dataclass

import av
import cv2
import numpy as np
from av.codec.context import Flags, ThreadType
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from genlock_core.media import AccessUnit, Codec
from genlock_worker.intake.chunks import Picture

logger = logging.getLogger(__name__)

MAX_SIDE = 4_096
"""Pictures larger than this are refused: they would cost more memory and time than any camera is worth."""
_DECODERS = {Codec.H264: "h264", Codec.VP8: "vp8"}


class Decoder:
    """Decodes access units in order, with no delay of its own (low-delay flag, one thread)."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.needs_key_frame = True
        """Nothing can be decoded until the next key frame: at the start, after a gap and after corrupt data."""
        self.failures = 0
        self._context = self._open()

    def _open(self) -> VideoCodecContext:
        context = av.CodecContext.create(_DECODERS[self.codec], "r")
        if not isinstance(context, VideoCodecContext):
            raise TypeError(f"{self.codec.name} is not a video codec here")
        context.thread_count = 1
        context.thread_type = ThreadType.SLICE
        context.flags |= Flags.low_delay
        return context

    def decode(self, unit: AccessUnit) -> VideoFrame | None:
        """The picture of one access unit, or None: not decodable without a key frame, corrupt, or no picture in it."""
        if self.needs_key_frame and not unit.key_frame:
            return None

        try:
            packet = av.Packet(unit.data)
            packet.pts = unit.capture_us
            packet.dts = unit.capture_us
            frames = self._context.decode(packet)
        except FFmpegError as error:
            self._broken(f"{type(error).__name__}: {error}")
            return None

        # A delta frame may be swallowed; a key frame without a picture means that the decoder's state is no good.
        if not frames:
            if unit.key_frame:
                self._broken("a key frame without a picture")
            return None

        frame = frames[-1]
        if frame.is_corrupt or max(frame.width, frame.height) > MAX_SIDE:
            self._broken("corrupt picture" if frame.is_corrupt else f"picture of {frame.width}x{frame.height}")
            return None

        self.needs_key_frame = False
        return frame

    def gap(self) -> None:
        """Units were lost before the decoder: what follows refers to pictures that it does not have."""
        self.needs_key_frame = True

    def _broken(self, reason: str) -> None:
        logger.debug("decoder waits for a key frame: %s", reason)
        self.failures += 1
        self.needs_key_frame = True
        self._context = self._open()


@dataclass(frozen=True, slots=True)
class Crop:
    """The part of a picture that is kept, in its own pixels."""

    x: int
    y: int
    width: int
    height: int


def centre_crop(width: int, height: int, *, target_width: int, target_height: int) -> Crop:
    """The largest centred part of a `width` x `height` picture with the target's aspect ratio; at least 1 x 1 pixel."""
    if width * target_height >= height * target_width:
        kept = max(1, round(height * target_width / target_height))
        return Crop((width - kept) // 2, 0, kept, height)
    kept = max(1, round(width * target_height / target_width))
    return Crop(0, (height - kept) // 2, width, kept)


def fit_picture(picture: NDArray[np.uint8], *, width: int, height: int) -> Picture:
    """An RGB picture (height, width, 3) of any size, cropped and resized to `width` x `height`."""
    crop = centre_crop(picture.shape[1], picture.shape[0], target_width=width, target_height=height)
    kept = picture[crop.y : crop.y + crop.height, crop.x : crop.x + crop.width]
    if kept.shape[:2] == (height, width):
        return np.ascontiguousarray(kept)

    # Averaging over areas keeps a picture that shrinks free of moire; it cannot enlarge one.
    shrinks = kept.shape[0] > height
    resized = cv2.resize(kept, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8)


def fit_frame(frame: VideoFrame, *, width: int, height: int) -> Picture:
    """A decoded frame of any size and pixel format as an RGB picture of `width` x `height`."""
    picture = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    return fit_picture(picture, width=width, height=height)
