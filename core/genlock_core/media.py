"""What travels as media: encoded access units and their codecs."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

VIDEO_CLOCK_HZ = 90_000
"""RTP clock rate of every video codec used here (RFC 6184 section 5.1, RFC 7741 section 4.1)."""

MAX_REORDER_S = 0.5
"""A picture may be shown so long before one that is decoded before it: a few B-frames. A longer way back in time is the
beginning of another stream."""


class Codec(IntEnum):
    """The codecs of the link; the number is what stands on the wire."""

    H264 = 1
    VP8 = 2

    @property
    def mime_type(self) -> str:
        return "video/H264" if self is Codec.H264 else "video/VP8"


class Trouble(StrEnum):
    """Why a publication makes no picture; the word is what clients and metrics get."""

    NO_KEY_FRAME = "no-key-frame"
    """Nothing came that a decoder can start with: no IDR, no recovery point, no picture of intra slices."""
    NO_PARAMETER_SETS = "no-parameter-sets"
    """H264 pictures refer to an SPS or PPS that came neither in the stream nor in the offer."""
    UNSUPPORTED_PROFILE = "unsupported-profile"
    """H264 of a profile, or with a tool, that workers do not decode; or pictures that are too large."""
    ENCRYPTED = "encrypted"
    """Packets come whose SRTP keys do not fit."""
    UNDECODABLE = "undecodable"
    """Payloads, or the pictures in them, are broken; frames that are encrypted end to end look like this."""


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One encoded picture.

    `data` is an Annex B byte stream for H264 (start codes; parameter sets in front of every key frame), one frame for
    VP8. A `key_frame` is one that a decoder can start with: an IDR, or a recovery point (ITU-T H.264 section D.2.8).
    `capture_us` is the time of capture or of due display in microseconds on the clock of whoever made the unit; a
    difference of two units of one stream is a media duration, nothing else is to be read from it. Units follow each
    other in decoding order: where a publisher reorders pictures (B-frames), a capture time may be up to `MAX_REORDER_S`
    before that of the unit before.
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
