"""What a true-size card takes: seconds derived from the counts of `bench.counted`, not measured."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from genlock_core.sizing.step_time import StepTime, Timed


@dataclass(frozen=True, slots=True)
class SimulatedCard:
    """One card with one model and one size of picture. It does one thing at a time: what runs beside something else
    takes its time away from that."""

    name: str
    forwards_s: Mapping[int, float]
    """Seconds of a forward by its rows; in between as on a line, beyond the last two as on theirs."""
    encode_s: float
    """Of a chunk, as `decode_s`."""
    decode_s: float

    def forward_s(self, rows: int) -> float:
        known = sorted(self.forwards_s)
        place = min(max(bisect_left(known, rows), 1), len(known) - 1)
        low, high = known[place - 1], known[place]
        share = (rows - low) / (high - low)
        return self.forwards_s[low] + share * (self.forwards_s[high] - self.forwards_s[low])

    @property
    def step_time(self) -> StepTime:
        """As a worker is told it by its profile."""
        return StepTime.fitted(Timed(rows, seconds) for rows, seconds in self.forwards_s.items())

    def load(self, *, steps: int, frame_rate: int) -> float:
        """The share of the card that a session takes where rows share their forwards as well as can be."""
        each_s = min(seconds / rows for rows, seconds in self.forwards_s.items())
        return (steps * each_s + self.encode_s + self.decode_s) * frame_rate / 4


TRUE_SIZE = SimulatedCard(
    name="H100 at best, wan2.1-1.3b, 512x512, Wan's encoder, tiny decoder",
    forwards_s={1: 0.00848, 2: 0.01667, 4: 0.03311, 8: 0.06600, 16: 0.13179},
    encode_s=0.01849,
    decode_s=0.00123,
)
"""`roofline.device_s` with `H100_AT_BEST`: 1,565 launches for one row, 5,615 for 16, in one graph each. What is bound
by memory or by products is so kernel by kernel. The weights are read in a millisecond, and one row has 1,024 tokens: a
row costs nearly the same whoever is beside it."""
