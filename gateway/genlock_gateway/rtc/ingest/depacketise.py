"""From the whole frames that `jitter` gives to access units: the payload formats undone, and a capture time added.

H264 (RFC 6184) becomes Annex B, each IDR with its parameter sets in front. VP8 (RFC 7741) stays as it is.
"""

from collections.abc import Callable

from genlock_core.media import VIDEO_CLOCK_HZ, AccessUnit, Codec
from genlock_gateway.rtc.h264 import (
    IDR_SLICE,
    ParameterSets,
    join_annex_b,
    nal_type,
    split_annex_b,
    starts_picture,
)
from genlock_gateway.rtc.ingest.jitter import BufferedFrame
from genlock_gateway.rtc.transport.aiortc_private import h264_depayload, vp8_depayload

MAX_STEP_S = 2.0
"""A longer step between two frames than this, forwards or back, is a new time line, not a slow camera."""
WINDOW_FRAMES = 32
"""The anchor follows the earliest arrival among so many frames: a second or two, longer than a burst of jitter."""


class Depacketiser:
    """Makes the access units of one publisher. `sprop_parameter_sets` are those of its offer."""

    def __init__(self, codec: Codec, *, sprop_parameter_sets: str = "") -> None:
        self._codec = codec
        self._parameter_sets = ParameterSets(sprop_parameter_sets)
        self._capture_clock = CaptureClock()

    @property
    def starts_frame(self) -> Callable[[bytes], bool]:
        """Whether a payload surely begins a picture."""
        return starts_picture if self._codec is Codec.H264 else starts_vp8_frame

    def access_unit(self, frame: BufferedFrame) -> AccessUnit | None:
        """The frame as an access unit; None for one that nobody can decode."""
        # The clock is told of broken frames too: their arrival says as much about the network.
        capture_us = self._capture_clock.capture_us(frame.timestamp, frame.arrival_s)
        try:
            picture = self._h264(frame) if self._codec is Codec.H264 else _vp8(frame)
        except ValueError:  # a broken payload
            return None
        if picture is None:
            return None
        data, key_frame = picture
        return AccessUnit(self._codec, data, key_frame=key_frame, capture_us=capture_us)

    def _h264(self, frame: BufferedFrame) -> tuple[bytes, bool] | None:
        """Annex B, and whether it is an IDR."""
        nals = self._parameter_sets.complete(split_annex_b(b"".join(map(h264_depayload, frame.payloads))))
        if not nals:
            return None
        return join_annex_b(nals), any(nal_type(nal) == IDR_SLICE for nal in nals)


def _vp8(frame: BufferedFrame) -> tuple[bytes, bool] | None:
    """The frame, and whether it is a key frame (RFC 6386 section 9.1: the first bit is 0)."""
    data = b"".join(map(vp8_depayload, frame.payloads))
    return (data, not data[0] & 1) if data else None


def starts_vp8_frame(payload: bytes) -> bool:
    """S is set and the partition index is 0 (RFC 7741 section 4.2)."""
    return bool(payload) and payload[0] & 0x1F == 0x10


class CaptureClock:
    """From RTP timestamps to capture times on the gateway's clock: keeps media distances, pinned to early arrivals.

    A frame is never said to be captured after it arrived, nor before its predecessor. The anchor is the smallest
    difference of arrival and media time: it falls at once, and rises to the smallest one of a whole window, so that a
    publisher's clock may run faster or slower than ours for hours, and one that stood still is not late for ever.
    """

    def __init__(self) -> None:
        self._last_timestamp: int | None = None
        self._media_us = 0
        self._offset_us = 0.0
        self._last_capture_us = 0
        self._window: list[float] = []

    def capture_us(self, timestamp: int, arrival_s: float) -> int:
        """Microseconds on the clock of `arrival_s` for a frame with the 32-bit RTP `timestamp`; strictly increasing."""
        arrival_us = arrival_s * 1e6
        if self._last_timestamp is None:
            self._offset_us = arrival_us
            self._last_capture_us = int(arrival_us) - 1
        else:
            # The timestamp has 32 bits and wraps: the shorter way round is the step.
            step = (timestamp - self._last_timestamp) & 0xFFFFFFFF
            step = step if step < 0x80000000 else step - 0x100000000
            self._media_us += step * 1_000_000 // VIDEO_CLOCK_HZ
            if abs(step) > MAX_STEP_S * VIDEO_CLOCK_HZ:
                self._offset_us = arrival_us - self._media_us
                self._window.clear()
        self._last_timestamp = timestamp

        self._follow(arrival_us - self._media_us)
        capture = min(int(self._media_us + self._offset_us), int(arrival_us))
        self._last_capture_us = max(capture, self._last_capture_us + 1)
        return self._last_capture_us

    def _follow(self, difference_us: float) -> None:
        if difference_us < self._offset_us:
            self._offset_us = difference_us
        self._window.append(difference_us)
        if len(self._window) == WINDOW_FRAMES:
            self._offset_us = min(self._window)
            self._window.clear()
