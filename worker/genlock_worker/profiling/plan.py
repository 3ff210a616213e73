"""What is measured, in which order, what need not be tried, and how long the rest will take. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genlock_core.errors import BadInput
from genlock_core.spec.session import Resolution
from genlock_worker.rows.scheduler import MAX_ROWS

MAX_STEPS = 4


class BadRange(BadInput):
    """A list of numbers or sizes that cannot be measured."""


@dataclass(frozen=True, slots=True)
class Combination:
    """`sessions` equal sessions at once; one row of a profile."""

    width: int
    height: int
    steps: int
    sessions: int

    @property
    def resolution(self) -> Resolution:
        return Resolution(width=self.width, height=self.height)

    @property
    def rows(self) -> int:
        """Rows of a micro-step in steady state."""
        return self.steps * self.sessions

    @property
    def work(self) -> int:
        """What a micro-step costs, roughly: rows times pixels."""
        return self.rows * self.width * self.height

    def needs_at_least(self, other: "Combination") -> bool:
        """Whether it needs as much memory as another in every respect: where that did not fit, this will not."""
        return (
            self.width * self.height >= other.width * other.height
            and self.steps >= other.steps
            and self.sessions >= other.sessions
        )

    def __str__(self) -> str:
        steps = "1 step" if self.steps == 1 else f"{self.steps} steps"
        sessions = "1 session" if self.sessions == 1 else f"{self.sessions} sessions"
        return f"{self.width}x{self.height}, {steps}, {sessions}"


def combinations(
    resolutions: Iterable[Resolution], steps: Iterable[int], sessions: Iterable[int]
) -> tuple[Combination, ...]:
    """All of them, small ones first: what does not fit is found before what is larger still is tried.

    Raises BadRange for a combination of more rows than a micro-step may have.
    """
    found = {
        Combination(resolution.width, resolution.height, step, count)
        for resolution in resolutions
        for step in steps
        for count in sessions
    }
    for one in found:
        if one.rows > MAX_ROWS:
            raise BadRange(f"{one}: a micro-step has at most {MAX_ROWS} rows; measure fewer sessions")
    return tuple(sorted(found, key=lambda one: (one.width * one.height, one.width, one.steps, one.sessions)))


def without_larger(left: Sequence[Combination], failed: Combination) -> tuple[Combination, ...]:
    """What is still worth trying once `failed` did not fit."""
    return tuple(one for one in left if not one.needs_at_least(failed))


def seconds_left(done: Sequence[tuple[Combination, float]], left: Sequence[Combination]) -> float | None:
    """How long the rest takes, judged by what was measured and how many seconds each took; None before the first.

    A measurement lasts a while whatever it measures, and longer where micro-steps are slow: seconds are a line over the
    work, through the mean, that rises (never falls) as the measured ones did.
    """
    if not done:
        return None
    mean_work = sum(one.work for one, _ in done) / len(done)
    mean_s = sum(seconds for _, seconds in done) / len(done)
    spread = sum((one.work - mean_work) ** 2 for one, _ in done)
    slope = sum((one.work - mean_work) * (seconds - mean_s) for one, seconds in done) / spread if spread else 0.0
    return sum(max(mean_s + max(slope, 0.0) * (one.work - mean_work), 0.0) for one in left)


def parse_counts(text: str, *, name: str, most: int) -> tuple[int, ...]:
    """`1-4`, `2` or `1,2,8`: numbers from 1 to `most`, in order. Raises BadRange."""
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,4})(?:\s*-\s*([0-9]{1,4}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= most:
            raise BadRange(f"--{name} {text}: must be numbers from 1 to {most}, such as 1-{min(most, 4)} or 1,2")
        numbers.update(range(first, last + 1))
    return tuple(sorted(numbers))


def parse_resolution(text: str) -> Resolution:
    """`832x480`. Raises BadRange."""
    match = re.fullmatch(r"([0-9]{2,4})x([0-9]{2,4})", text.strip())
    sides = (int(match[1]), int(match[2])) if match else (0, 0)
    if any(side % 16 or not 64 <= side <= 1920 for side in sides):
        raise BadRange(
            f"--resolution {text}: must be a size such as 832x480, both sides multiples of 16 between 64 and 1920"
        )
    return Resolution(width=sides[0], height=sides[1])
