"""What arrived of one RTP stream, as receiver reports tell it (RFC 3550 section 6.4.1 and appendix A).

aiortc's statistics count duplicates and retransmissions as received, so that the sender reads a negative loss. Here a
sequence number counts once, and only when it came with the stream's own SSRC and payload type. What a retransmission
stream (RFC 4588) brought is a repaired loss; to the sender it stays a loss.
"""

from collections import deque

MAX_DROPOUT = 3_000
"""A number that is further ahead than this is a sender that has begun anew (RFC 3550 appendix A.1)."""
MAX_MISORDER = 1_024
"""A number that is further behind than this is one too; less is a packet that was late."""


class ReceptionStatistics:
    """One SSRC. `clock_hz` is that of its timestamps."""

    def __init__(self, clock_hz: int) -> None:
        self._clock_hz = clock_hz
        self._base = 0
        self._highest: int | None = None
        self._seen: set[int] = set()
        self._seen_in_order: deque[int] = deque()
        self._received = 0
        self._expected_before = 0
        self._received_before = 0
        self._jitter = 0.0
        self._transit: float | None = None
        self._last_timestamp: int | None = None

    @property
    def highest_sequence(self) -> int:
        """The extended highest number: 16 bits of cycles, 16 bits of the packet's own."""
        return (self._highest or 0) & 0xFFFFFFFF

    @property
    def packets_lost(self) -> int:
        """Since the stream began: expected less received. Never negative, because no number counts twice."""
        return self._expected - self._received

    @property
    def jitter(self) -> int:
        """Interarrival jitter in timestamp units (appendix A.8)."""
        return int(self._jitter)

    @property
    def _expected(self) -> int:
        return 0 if self._highest is None else self._highest - self._base + 1

    def add(self, sequence: int, timestamp: int, arrival_s: float) -> None:
        """A packet of the stream came; its numbers are those of the header."""
        number = self._extend(sequence)
        if number < self._base or number in self._seen:
            return

        self._remember(number)
        self._received += 1
        if self._highest is None or number >= self._highest:
            self._highest = number
            self._add_jitter(timestamp, arrival_s)

    def take_fraction_lost(self) -> int:
        """The share lost since the last call, in 256ths (appendix A.3)."""
        expected = self._expected - self._expected_before
        lost = expected - (self._received - self._received_before)
        self._expected_before = self._expected
        self._received_before = self._received
        return min(255, (lost << 8) // expected) if expected > 0 and lost > 0 else 0

    def _extend(self, sequence: int) -> int:
        """The number without wraps; a jump begins the count anew, and what was lost until then stays counted."""
        if self._highest is None:
            self._base = sequence
            return sequence

        ahead = (sequence - self._highest) & 0xFFFF
        distance = ahead if ahead < 0x8000 else ahead - 0x10000
        if -MAX_MISORDER < distance < MAX_DROPOUT:
            return self._highest + distance

        lost = self.packets_lost
        self._seen.clear()
        self._seen_in_order.clear()
        self._highest = None
        self._base = sequence - lost
        self._received = 0
        self._expected_before = lost
        self._received_before = 0
        return sequence

    def _remember(self, number: int) -> None:
        self._seen.add(number)
        self._seen_in_order.append(number)
        if len(self._seen_in_order) > 2 * MAX_MISORDER:
            self._seen.discard(self._seen_in_order.popleft())

    def _add_jitter(self, timestamp: int, arrival_s: float) -> None:
        """The packets of one picture have one timestamp, and only the first of them came when it was ready."""
        if timestamp == self._last_timestamp:
            return
        self._last_timestamp = timestamp
        transit = arrival_s * self._clock_hz - timestamp
        if self._transit is not None:
            # Timestamps wrap after 32 bits; the shorter way round is the difference.
            difference = (transit - self._transit + 0x80000000) % 0x100000000 - 0x80000000
            self._jitter += (abs(difference) - self._jitter) / 16
        self._transit = transit
