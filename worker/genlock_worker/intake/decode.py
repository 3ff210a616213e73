"""From coded pictures to RGB pictures of the session's size: decodes a publisher's access units, crops and scales.

Stands between the sources, which say what comes next, and the chunks, which hold pictures of one size. A publisher's
data is not to be trusted: whatever arrives, `Decoder.decode` gives frames or nothing, and `needs_key_frame` says when
only a key frame can help. There is one decoder per session and publication, called on one thread at a time.
"""

import logging
from dataclasses import dataclass
from typing import Any

import av
import cv2
import numpy as np
from av.codec.context import Flags, ThreadType
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from genlock_core.bitstreams.picture_size import MAX_PICTURES_BYTES, MAX_SIDE, size_mistake
from genlock_core.bounds import OBJECT_BYTES, ByteLimit, Holdings
from genlock_core.media import AccessUnit, Codec, Trouble
from genlock_core.spec.session import PictureFit
from genlock_worker.intake.chunks import Picture

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

    def decode(self, unit: AccessUnit) -> list[VideoFrame]:
        """The pictures that come out with this unit, each with the capture time of its own unit as `pts`.

        Empty: not decodable without a key frame, corrupt, held back, or no picture in it.
        """
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
            self._broken(f"{type(error).__name__}: {error}")
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

    def drain(self) -> list[VideoFrame]:
        """The pictures that are held back, for a stream that stands still. It may go on afterwards."""
        if not self.holds:
            return []
        self._is_drained = True
        try:
            return self._shown(self._context.decode(None))
        except FFmpegError as error:
            self._broken(f"{type(error).__name__}: {error}")
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

    def _shown(self, frames: list[VideoFrame]) -> list[VideoFrame]:
        # Pictures that are shown before an open group's first one may refer to what was before it.
        shown = [frame for frame in frames if self._first_us is None or (frame.pts or 0) >= self._first_us]
        for frame in shown:
            if frame.is_corrupt:
                self._broken("corrupt picture")
                return []

        if shown:
            self.trouble = None
            self._most_pictureless = MAX_PICTURELESS
        return shown

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


def letterbox(width: int, height: int, *, target_width: int, target_height: int) -> Crop:
    """Where a whole `width` x `height` picture lies between bars in one of the target's size; at least 1 x 1 pixel."""
    if width * target_height >= height * target_width:
        shown = max(1, round(height * target_width / width))
        return Crop(0, (target_height - shown) // 2, target_width, shown)
    shown = max(1, round(width * target_height / height))
    return Crop((target_width - shown) // 2, 0, shown, target_height)


def fit_picture(picture: NDArray[np.uint8], *, width: int, height: int, fit: PictureFit = PictureFit.CROP) -> Picture:
    """An RGB picture (height, width, 3) of any size as one of `width` x `height`; bars are black."""
    if fit is PictureFit.FILL:
        return _resized(picture, width=width, height=height)

    if fit is PictureFit.FIT:
        place = letterbox(picture.shape[1], picture.shape[0], target_width=width, target_height=height)
        shown = _resized(picture, width=place.width, height=place.height)
        if shown.shape[:2] == (height, width):
            return shown
        framed = np.zeros((height, width, 3), np.uint8)
        framed[place.y : place.y + place.height, place.x : place.x + place.width] = shown
        return framed

    crop = centre_crop(picture.shape[1], picture.shape[0], target_width=width, target_height=height)
    return _resized(picture[crop.y : crop.y + crop.height, crop.x : crop.x + crop.width], width=width, height=height)


def _resized(kept: NDArray[np.uint8], *, width: int, height: int) -> Picture:
    if kept.shape[:2] == (height, width):
        return np.ascontiguousarray(kept)

    # Averaging over areas keeps a picture that shrinks free of moire; it cannot enlarge one.
    shrinks = kept.shape[0] > height
    resized = cv2.resize(kept, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8)


def fit_frame(frame: VideoFrame, *, width: int, height: int, fit: PictureFit = PictureFit.CROP) -> Picture:
    """A decoded frame of any size and pixel format as an RGB picture of `width` x `height`."""
    picture = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    return fit_picture(picture, width=width, height=height, fit=fit)
