"""One encoded picture out of its RTP payloads; `h264_pictures` and `vp8_pictures` make it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Picture:
    """The bytes for a decoder. `pixels` is the size that a key frame states, before cropping; 0 for other pictures."""

    data: bytes
    key_frame: bool
    pixels: int
