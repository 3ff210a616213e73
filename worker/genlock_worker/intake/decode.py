"""Decodes a publisher's H264 or VP8 access units; one decoder per session and publication.

A publisher's data is not to be trusted: whatever arrives, `decode` gives frames or nothing, and `needs_key_frame` says
when only a key frame can help. Called on one thread at a time.
"""

import logging

import av
from av.codec.context import Flags, ThreadType
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from genlock_core.media import AccessUnit, Codec

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
