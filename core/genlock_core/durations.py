"""Durations as people write them: `500ms`, `20s`, `1m30s`.

Always text with a unit, never a bare number: nobody has to know whether `500` would be seconds. It stands below
everything else, because manifests (`spec`) and the options of processes (`process`) write durations alike.
"""

import re
from typing import Final

MAX_DURATION_MS: Final = 31 * 24 * 3_600_000
MAX_DURATION_CHARS: Final = 32
DURATION_PATTERN: Final = r"([0-9]+(\.[0-9]+)?(ms|s|m|h))+"

_WHOLE = re.compile(DURATION_PATTERN)
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


def parse_duration_ms(value: object) -> int:
    """`1m30s`, `500ms` or `0.5s`, as whole milliseconds. Raises ValueError."""
    if not isinstance(value, str) or len(value) > MAX_DURATION_CHARS or not _WHOLE.fullmatch(value):
        raise ValueError("must be a duration with its unit, such as 500ms, 2s, 1m30s or 10m")
    return round(sum(float(number) * _MS[unit] for number, unit in _PART.findall(value)))


def format_duration_ms(value: int) -> str:
    """The shortest way to write a duration exactly: 90000 -> `1m30s`, 500 -> `500ms`."""
    if value == 0:
        return "0s"
    parts = []
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)):
        count, value = divmod(value, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
