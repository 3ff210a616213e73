"""Durations, bitrates and shares as people write them: `500ms`, `1500k`, `1%`.

Always text with a unit, never a bare number: a manifest means the same to Genlock and to the API server, and nobody has
to know whether `500` would be seconds.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from genlock_core.durations import DURATION_PATTERN, MAX_DURATION_MS, format_duration_ms, parse_duration_ms

MAX_QUANTITY_CHARS = 32

_BITRATE = re.compile(r"[0-9]+(\.[0-9]+)?[kM]?")
_BITS = {"k": 1_000, "M": 1_000_000}
_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?)%")
_SHARE_UP_TO_100 = r"^(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%$"


def parse_bitrate(value: object) -> int:
    """`1500k`, `2.5M` or `800000`, as bits per second. Raises ValueError."""
    if not isinstance(value, str) or len(value) > MAX_QUANTITY_CHARS or not _BITRATE.fullmatch(value):
        raise ValueError("must be a bitrate with its unit, such as 1500k or 2M")
    return round(float(value.rstrip("kM")) * _BITS.get(value[-1], 1))


def format_bitrate(value: int) -> str:
    """1500000 -> `1500k`, 2000000 -> `2M`."""
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if value % size == 0:
            return f"{value // size}{unit}"
    return str(value)


def parse_share(value: object) -> float:
    """`1%`, as a fraction of one. Raises ValueError."""
    match = _SHARE.fullmatch(value) if isinstance(value, str) and len(value) <= MAX_QUANTITY_CHARS else None
    if match is None:
        raise ValueError("must be a percentage, such as 1%")
    share = float(match[1]) / 100
    if share > 1:
        raise ValueError("must lie between 0% and 100%")
    return share


def format_share(value: float) -> str:
    """0.01 -> `1%`."""
    return f"{round(value * 100, 6):g}%"


@dataclass(frozen=True, slots=True)
class Duration:
    """Annotation of a field that is a duration: kept in milliseconds, written as `500ms`, within bounds."""

    at_least_ms: int = 0
    at_most_ms: int = MAX_DURATION_MS

    def parse(self, value: object) -> int:
        duration_ms = parse_duration_ms(value)
        if not self.at_least_ms <= duration_ms <= self.at_most_ms:
            low, high = format_duration_ms(self.at_least_ms), format_duration_ms(self.at_most_ms)
            raise ValueError(f"must lie between {low} and {high}")
        return duration_ms

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> CoreSchema:
        return _as_text(self.parse, format_duration_ms)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: object) -> JsonSchemaValue:
        low, high = format_duration_ms(self.at_least_ms), format_duration_ms(self.at_most_ms)
        return {
            "type": "string",
            "maxLength": MAX_QUANTITY_CHARS,
            "pattern": rf"^{DURATION_PATTERN}$",
            "x-kubernetes-validations": [
                {
                    "rule": f"duration(self) >= duration('{low}') && duration(self) <= duration('{high}')",
                    "message": f"must lie between {low} and {high}",
                }
            ],
        }


@dataclass(frozen=True, slots=True)
class BitrateBetween:
    """Annotation of a field that is a bitrate: kept in bits per second, written as `1500k`, within bounds."""

    at_least: int
    at_most: int

    def parse(self, value: object) -> int:
        bits_per_second = parse_bitrate(value)
        if not self.at_least <= bits_per_second <= self.at_most:
            raise ValueError(f"must lie between {format_bitrate(self.at_least)} and {format_bitrate(self.at_most)}")
        return bits_per_second

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> CoreSchema:
        return _as_text(self.parse, format_bitrate)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: object) -> JsonSchemaValue:
        low, high = format_bitrate(self.at_least), format_bitrate(self.at_most)
        number = "double(self.matches('[kM]$') ? self.substring(0, self.size() - 1) : self)"
        unit = "(self.endsWith('M') ? 1000000.0 : self.endsWith('k') ? 1000.0 : 1.0)"
        return {
            "type": "string",
            "maxLength": MAX_QUANTITY_CHARS,
            "pattern": rf"^{_BITRATE.pattern}$",
            "x-kubernetes-validations": [
                {
                    "rule": f"[{number} * {unit}].all(rate, rate >= {self.at_least}.0 && rate <= {self.at_most}.0)",
                    "message": f"must lie between {low} and {high}",
                }
            ],
        }


@dataclass(frozen=True, slots=True)
class ShareOfOne:
    """Annotation of a field that is a share of one, written as a percentage."""

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> CoreSchema:
        return _as_text(parse_share, format_share)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: object) -> JsonSchemaValue:
        return {"type": "string", "maxLength": MAX_QUANTITY_CHARS, "pattern": _SHARE_UP_TO_100}


@dataclass(frozen=True, slots=True)
class ShareBetween:
    """Annotation of a field that is a share of one within bounds, written as a percentage."""

    at_least: float
    at_most: float

    def parse(self, value: object) -> float:
        share = parse_share(value)
        if not self.at_least <= share <= self.at_most:
            raise ValueError(f"must lie between {format_share(self.at_least)} and {format_share(self.at_most)}")
        return share

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> CoreSchema:
        return _as_text(self.parse, format_share)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: object) -> JsonSchemaValue:
        low, high = format_share(self.at_least), format_share(self.at_most)
        number = "double(self.substring(0, self.size() - 1))"
        return {
            "type": "string",
            "maxLength": MAX_QUANTITY_CHARS,
            "pattern": _SHARE_UP_TO_100,
            "x-kubernetes-validations": [
                {
                    "rule": f"{number} >= {float(low[:-1])} && {number} <= {float(high[:-1])}",
                    "message": f"must lie between {low} and {high}",
                }
            ],
        }


def _as_text(parse: Callable[[object], Any], write: Callable[[Any], str]) -> CoreSchema:
    return core_schema.no_info_plain_validator_function(
        parse,
        serialization=core_schema.plain_serializer_function_ser_schema(write, return_schema=core_schema.str_schema()),
    )


Bitrate = Annotated[int, BitrateBetween(100_000, 20_000_000)]
"""A bitrate, kept in bits per second and written as `1500k`."""

Share = Annotated[float, ShareOfOne()]
"""A share of one, written as a percentage."""
