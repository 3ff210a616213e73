"""What travels as media: encoded access units and their codecs."""

from dataclasses import dataclass
from enum import IntEnum

VIDEO_CLOCK_HZ = 90_000
"""RTP clock rate of every video codec used here (RFC 6184 section 5.1, RFC 7741 section 4.1)."""


class Codec(IntEnum):
    """The codecs of the link; the number is what stands on the wire."""

    H264 = 1
    VP8 = 2

    @property
    def mime_type(self) -> str:
        return "video/H264" if self is Codec.H264 else "video/VP8"


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One encoded picture.

    `data` is an Annex B byte stream for H264 (start codes; SPS and PPS in front of every IDR), one frame for VP8.
    `capture_us` is the time of capture or of due display in microseconds on the clock of whoever made the unit; a
    difference of two units of one stream is a media duration, nothing else is to be read from it.
    """

    codec: Codec
    data: bytes
    key_frame: bool
    capture_us: int


@dataclass(frozen=True, slots=True, order=True)
class SourcePosition:
    """Where in a session's source a frame stands; everything of a later run comes after everything of an earlier one.

    `run` grows with every publication; `capture_us` as in `AccessUnit`.
    """

    run: int
    capture_us: int


@dataclass(frozen=True, slots=True)
class StillPicture:
    """One picture of a session as a JPEG file, and where in the source it stands."""

    jpeg: bytes
    position: SourcePosition
