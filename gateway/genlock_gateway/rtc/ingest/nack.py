"""When a missing packet is asked for, and how often (RFC 4585 section 6.2.1)."""

from collections.abc import Iterable

RETRY_S = 0.04
MAX_TRIES = 6
MAX_PER_REPORT = 128


class NackSchedule:
    """Asks for a missing packet at once, then again every `RETRY_S`, at most `MAX_TRIES` times."""

    def __init__(self) -> None:
        self._asked: dict[int, tuple[int, float]] = {}

    def due(self, missing: Iterable[int], now_s: float) -> list[int]:
        """Which of the `missing` extended sequence numbers to ask for now; forgets those that are missing no more."""
        kept = {number: self._asked.get(number, (0, now_s - RETRY_S)) for number in missing}
        ask = [
            number for number, (tries, last_s) in kept.items() if tries < MAX_TRIES and now_s - last_s >= RETRY_S - 1e-9
        ][:MAX_PER_REPORT]
        for number in ask:
            kept[number] = (kept[number][0] + 1, now_s)
        self._asked = kept
        return ask


def split_at_wrap(extended: list[int]) -> list[list[int]]:
    """16-bit sequence numbers in runs that each ascend, as one feedback message can carry them."""
    runs: list[list[int]] = []
    for number in extended:
        sequence = number & 0xFFFF
        if not runs or sequence < runs[-1][-1]:
            runs.append([])
        runs[-1].append(sequence)
    return runs
