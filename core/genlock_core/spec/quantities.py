"""Durations, bitrates and shares as people write them: `500ms`, `1500k`, `1%`."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_DURATION_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BITRATE = re.compile(r"(\d+(?:\.\d+)?)([kM]?)")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)%")


def parse_duration_ms(value: object) -> int:
    """`1m30s`, `500ms`, `0.5s` or a number of seconds, as whole milliseconds. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("must be a duration such as 500ms, 2s or 10m")
    if isinstance(value, int | float):
        seconds = float(value)
        if not 0 <= seconds < 10**9:
            raise ValueError("must be a duration between 0 and 10^9 seconds")
        return round(seconds * 1000)
    text = value.strip()
    if len(text) > 32 or not _DURATION_WHOLE.fullmatch(text):
        raise ValueError(f"{value[:40]!r} is not a duration; write for example 500ms, 2s, 1m30s or 10m")
    return round(sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text)) * 1000)


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


def parse_bitrate(value: object) -> int:
    """`1500k`, `2.5M` or a number, as bits per second. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _BITRATE.fullmatch(value.strip()) if isinstance(value, str) and len(value) < 20 else None
    if match is None:
        raise ValueError("must be a bitrate such as 1500k or 2M")
    return round(float(match[1]) * {"": 1, "k": 1_000, "M": 1_000_000}[match[2]])


def format_bitrate(value: int) -> str:
    """1500000 -> `1500k`."""
    return f"{value // 1000}k" if value % 1000 == 0 else str(value)


def parse_share(value: object) -> float:
    """`1%` or 0.01, as a fraction of one. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        share = float(value)
    else:
        match = _SHARE.fullmatch(value.strip()) if isinstance(value, str) and len(value) < 20 else None
        if match is None:
            raise ValueError("must be a share such as 1% or 0.01")
        share = float(match[1]) / 100
    if not 0 <= share <= 1:
        raise ValueError("must lie between 0% and 100%")
    return share


def format_share(value: float) -> str:
    """0.01 -> `1%`."""
    return f"{round(value * 100, 6):g}%"


def _quantity_schema(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string", "pattern": pattern}],
            "x-kubernetes-int-or-string": True,
            "example": example,
        }
    )


DurationMs = Annotated[
    int,
    BeforeValidator(parse_duration_ms),
    Field(ge=0),
    PlainSerializer(format_duration_ms, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h))+$", "example": "500ms"}),
]
"""A duration, kept in milliseconds and written as `500ms`."""

Bitrate = Annotated[
    int,
    BeforeValidator(parse_bitrate),
    PlainSerializer(format_bitrate, return_type=str),
    _quantity_schema(r"^\d+(\.\d+)?[kM]?$", "1500k"),
]
"""A bitrate, kept in bits per second and written as `1500k`."""

Share = Annotated[
    float,
    BeforeValidator(parse_share),
    PlainSerializer(format_share, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?%$", "example": "1%"}),
]
"""A share of one, written as a percentage."""
