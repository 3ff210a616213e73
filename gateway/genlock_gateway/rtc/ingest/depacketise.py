"""From the whole frames that `jitter` gives to access units: the payload formats undone, and a capture time added.

H264 (RFC 6184) becomes Annex B, each key frame with all parameter sets in front. VP8 (RFC 7741) stays as it is.
"""

from collections.abc import Callable

from genlock_core.bounds import Holdings
from genlock_core.media import MAX_REORDER_S, VIDEO_CLOCK_HZ, AccessUnit, Codec, Trouble
from genlock_gateway.rtc.ingest.h264_pictures import H264Pictures
from genlock_gateway.rtc.ingest.jitter import BufferedFrame
from genlock_gateway.rtc.ingest.payload_shape import PayloadShape, h264_shape, vp8_shape
from genlock_gateway.rtc.ingest.vp8_pictures import vp8_picture

MAX_STEP_S = 2.0
"""A longer step between two frames than this is a new time line, not a slow camera."""
WINDOW_FRAMES = 32
"""The anchor follows the earliest arrival among so many frames: a second or two, longer than a burst of jitter."""


class Depacketiser:
    """Makes the access units of one RTP stream. `sprop_parameter_sets` are those of its offer."""

    def __init__(self, codec: Codec, *, sprop_parameter_sets: str = "", holdings: Holdings | None = None) -> None:
        self.pixels = 0
        """Of the last key frame's picture, before cropping; 0 before the first."""
        self._codec = codec
        self._h264 = H264Pictures(sprop_parameter_sets, holdings=holdings)
        self._capture_clock = CaptureClock()

    @property
    def shape_of(self) -> Callable[[bytes], PayloadShape]:
        """What a payload says of its picture."""
        return h264_shape if self._codec is Codec.H264 else vp8_shape

    def access_unit(self, frame: BufferedFrame, *, any_start: bool) -> AccessUnit | Trouble | None:
        """The frame as an access unit, or why nobody can decode it; None if no picture is in it.

        `any_start`: see `H264Pictures.picture`.
        """
        # The clock is told of broken frames too: their arrival says as much about the network.
        capture_us = self._capture_clock.capture_us(frame.timestamp, frame.arrival_s)
        try:
            if self._codec is Codec.H264:
                picture = self._h264.picture(frame.payloads, any_start=any_start)
            else:
                picture = vp8_picture(frame.payloads)
        except ValueError:
            return Trouble.UNDECODABLE
        if picture is None or isinstance(picture, Trouble):
            return picture

        self.pixels = picture.pixels or self.pixels
        return AccessUnit(self._codec, picture.data, key_frame=picture.key_frame, capture_us=capture_us)


class CaptureClock:
    """From RTP timestamps to capture times on the gateway's clock: keeps media distances, pinned to early arrivals.

    Frames come in decoding order, so that one may be captured before its predecessor (`MAX_REORDER_S`). None is said to
    be captured after it arrived. The anchor is the smallest difference of arrival and media time: it falls at once, and
    rises to the smallest one of a whole window, so that a publisher's clock may run faster or slower than ours for
    hours, and one that stood still is not late for ever.
    """

    def __init__(self) -> None:
        self._last_timestamp: int | None = None
        self._media_us = 0
        self._offset_us = 0.0
        # The latest frame so far, in media time and as a capture time.
        self._latest_media_us = 0
        self._latest_us = 0
        self._window: list[float] = []

    def capture_us(self, timestamp: int, arrival_s: float) -> int:
        """Microseconds on the clock of `arrival_s` for a frame with the 32-bit RTP `timestamp`.

        Strictly later than all frames before it, unless the timestamp says that it is shown before one of them.
        """
        arrival_us = arrival_s * 1e6
        is_earlier = False
        if self._last_timestamp is None:
            self._offset_us = arrival_us
            self._latest_us = int(arrival_us) - 1
        else:
            # The timestamp has 32 bits and wraps: the shorter way round is the step.
            step = (timestamp - self._last_timestamp) & 0xFFFFFFFF
            step = step if step < 0x80000000 else step - 0x100000000
            self._media_us += step * 1_000_000 // VIDEO_CLOCK_HZ
            behind_us = self._latest_media_us - self._media_us
            is_earlier = 0 < behind_us <= MAX_REORDER_S * 1e6
            if step > MAX_STEP_S * VIDEO_CLOCK_HZ or (behind_us > 0 and not is_earlier):
                self._offset_us = arrival_us - self._media_us
                self._window.clear()
        self._last_timestamp = timestamp

        self._follow(arrival_us - self._media_us)
        capture = min(int(self._media_us + self._offset_us), int(arrival_us))
        if is_earlier:
            return min(capture, self._latest_us - 1)
        self._latest_media_us = self._media_us
        self._latest_us = max(capture, self._latest_us + 1)
        return self._latest_us

    def _follow(self, difference_us: float) -> None:
        if difference_us < self._offset_us:
            self._offset_us = difference_us
        self._window.append(difference_us)
        if len(self._window) == WINDOW_FRAMES:
            self._offset_us = min(self._window)
            self._window.clear()
