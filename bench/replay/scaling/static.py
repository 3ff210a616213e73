"""The same number of workers all day."""

from dataclasses import dataclass

from bench.replay.scaling.scaler import Seen


@dataclass(frozen=True, slots=True)
class Static:
    """What somebody set who knew the day beforehand."""

    name: str
    count: int
    period_s: float = 3_600.0
    hears_blocked: bool = False

    def workers(self, seen: Seen) -> int:  # noqa: ARG002
        return self.count
