"""The kinds of values that an option may have: how each is written, read, checked and described.

Everything that is read from a command line or from the environment is text. A kind reads that text, and it is the only
place that does: so a value means the same in every part of Genlock, wherever it comes from.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from genlock_core.durations import MAX_DURATION_MS, format_duration_ms, parse_duration_ms
from genlock_core.process.address import Address

T = TypeVar("T")
Word = TypeVar("Word", bound=StrEnum)
S = TypeVar("S", bound=str)

YES: Final = frozenset({"yes", "true", "1", "on"})
NO: Final = frozenset({"no", "false", "0", "off"})
MAX_DURATION_S: Final = MAX_DURATION_MS / 1_000
LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
"""The name of a namespace (RFC 1123, section 2.1)."""

_ANYTHING: Final[Mapping[str, Any]] = MappingProxyType({"type": "string"})
_PLAIN = re.compile(r"[0-9]+(\.[0-9]+)?")
_BYTES = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?:([kMGT]i?)B?|B)")
_BYTES_IN = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)/(s|m|h)")
_SECONDS = {"s": 1, "m": 60, "h": 3_600}
_URL = re.compile(r"https?://[^\s/?#]+[^\s?#]*")


def _no_plain(_: str) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """How a value is written and checked."""

    shape: str
    """How help calls it: `DURATION`, `HOST:PORT`, `yes|no`."""
    parse: Callable[[str], T]
    """Raises ValueError, whose text goes on from the option's name: `must be ...`."""
    schema: Mapping[str, Any] = field(default_factory=lambda: _ANYTHING)
    """The same as JSON schema, where a chart's values mirror the option; durations as whole seconds there."""
    with_unit: Callable[[str], str | None] = _no_plain
    """How to write a plain number now, which was read as a number of the unit before; None: it is none."""
    unit: str = ""
    """What names of fields of this kind end in. The option's name does not: its value has the unit."""
    separator: str = ""
    """What stands between several values in one text; empty: there is one value. A blank stands for any white space."""
    gather: Callable[[Sequence[str]], T] | None = None
    """Reads an option that was given several times on the command line; None: the last time counts."""
    is_switch: bool = False
    """True: given without a value it is `yes`."""


def text(pattern: str = r".*", *, shape: str = "TEXT", must_be: str = "one line of text") -> Kind[str]:
    """Text that fits the pattern as a whole. `must_be` says in words what fits."""
    compiled = re.compile(pattern)

    def parse(written: str) -> str:
        if not compiled.fullmatch(written):
            raise ValueError(f"must be {must_be}")
        return written

    return Kind(shape, parse, _ANYTHING if pattern == ".*" else {"type": "string", "pattern": f"^({pattern})$"})


def one_of(*words: S, any_case: bool = False) -> Kind[S]:
    """One of these words. `any_case`: also in capital letters; the value is the word as it is listed."""

    def parse(written: str) -> S:
        asked = written.lower() if any_case else written
        for word in words:
            if word == asked:
                return word
        raise ValueError(f"must be one of {', '.join(words)}")

    others = [word.upper() for word in words] if any_case else []
    return Kind("|".join(words), parse, {"enum": [*words, *others]})


def member_of(words: type[Word]) -> Kind[Word]:
    """One of the words of an enumeration."""
    plain = one_of(*words)
    return Kind(plain.shape, lambda written: words(plain.parse(written)), plain.schema)


def whole(at_least: int, at_most: int | None = None) -> Kind[int]:
    """A whole number within bounds, both included."""
    bounds = f"from {at_least}" if at_most is None else f"from {at_least} to {at_most}"

    def parse(written: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", written):
            raise ValueError(f"must be a whole number {bounds}")
        number = int(written)
        if number < at_least or (at_most is not None and number > at_most):
            raise ValueError(f"must be a whole number {bounds}")
        return number

    schema = {"type": "integer", "minimum": at_least}
    return Kind("NUMBER", parse, schema if at_most is None else schema | {"maximum": at_most})


def number(at_least: float, at_most: float | None = None) -> Kind[float]:
    """A number within bounds, both included."""
    bounds = f"from {at_least:g}" if at_most is None else f"from {at_least:g} to {at_most:g}"

    def parse(written: str) -> float:
        if not re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", written):
            raise ValueError(f"must be a number {bounds}")
        found = float(written)
        if found < at_least or (at_most is not None and found > at_most):
            raise ValueError(f"must be a number {bounds}")
        return found

    schema: dict[str, Any] = {"type": "number", "minimum": at_least}
    return Kind("NUMBER", parse, schema if at_most is None else schema | {"maximum": at_most})


def duration(at_least_s: float = 0.0, at_most_s: float = MAX_DURATION_S) -> Kind[float]:
    """`20s`, `250ms`, `1m30s`, as seconds within bounds, both included."""
    low, high = (format_duration_ms(round(bound * 1_000)) for bound in (at_least_s, at_most_s))

    def parse(written: str) -> float:
        duration_s = parse_duration_ms(written) / 1_000
        if not at_least_s <= duration_s <= at_most_s:
            raise ValueError(f"must lie between {low} and {high}")
        return duration_s

    def with_unit(written: str) -> str | None:
        if not _PLAIN.fullmatch(written):
            return None
        return format_duration_ms(round(float(written) * 1_000))

    schema = {"type": "integer", "minimum": math.ceil(at_least_s), "maximum": math.floor(at_most_s)}
    return Kind("DURATION", parse, schema, with_unit=with_unit, unit="_s")


def size() -> Kind[int]:
    """`20Gi`, `500M` or `4096B`, as bytes."""

    def parse(written: str) -> int:
        found = _BYTES.fullmatch(written)
        if found is None:
            raise ValueError("must be an amount of memory with its unit, such as 20Gi, 500M or 4096B")
        return round(float(found[1]) * _BYTES_IN.get(found[2], 1))

    def with_unit(written: str) -> str | None:
        return f"{written}B" if _PLAIN.fullmatch(written) else None

    return Kind("SIZE", parse, with_unit=with_unit, unit="_bytes")


def rate(at_least_per_s: float) -> Kind[float]:
    """`50/s` or `6/m`, as a number each second."""

    def parse(written: str) -> float:
        found = _RATE.fullmatch(written)
        if found is None:
            raise ValueError("must be a rate, such as 50/s or 6/m")
        per_s = float(found[1]) / _SECONDS[found[2]]
        if per_s < at_least_per_s:
            raise ValueError(f"must be a rate of at least {at_least_per_s:g}/s")
        return per_s

    def with_unit(written: str) -> str | None:
        return f"{written}/s" if _PLAIN.fullmatch(written) else None

    return Kind("RATE", parse, with_unit=with_unit, unit="_per_s")


def switch() -> Kind[bool]:
    """`yes` or `no`; true and false, 1 and 0, on and off mean the same."""

    def parse(written: str) -> bool:
        if written.lower() not in YES | NO:
            raise ValueError("must be yes or no")
        return written.lower() in YES

    return Kind("yes|no", parse, {"type": "boolean"}, is_switch=True)


def address(*, reachable: bool = False) -> Kind[Address]:
    """`host:port`, or `:port` for every interface. `reachable`: to connect to, so every interface is none."""

    def parse(written: str) -> Address:
        found = Address.parse(written)
        if reachable and found.everywhere:
            raise ValueError("must be an address that others can connect to, such as 192.0.2.1:7000")
        return found

    return Kind("HOST:PORT", parse)


def path() -> Kind[Path]:
    """A file or a folder; whether it is there is seen when it is used."""
    return Kind("PATH", Path)


def content() -> Kind[str]:
    """The text of a file, read at once, so that a file that is not there is a mistake like any other."""

    def parse(written: str) -> str:
        try:
            return Path(written).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            told = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ValueError(f"must be a file that can be read ({told})") from error

    return Kind("FILE", parse)


def web_url() -> Kind[str]:
    """A base URL; a slash at its end does not count."""

    def parse(written: str) -> str:
        if not _URL.fullmatch(written):
            raise ValueError("must be a URL, such as https://live.example.org")
        return written.rstrip("/")

    return Kind("URL", parse, {"type": "string", "pattern": r"^(https?://[^\s]+)?$"})


def redis_url() -> Kind[str]:
    """What `genlock_core.store.connect` takes. It may hold a password: declare the option as a secret."""
    schemes = r"(redis|rediss|redis\+cluster|rediss\+cluster|unix)"
    return text(rf"{schemes}://\S+", shape="URL", must_be="the address of a Redis, such as redis://127.0.0.1:6379")


def word_or(kind: Kind[T], word: str) -> Kind[T | None]:
    """A value of that kind, or this word, which stands for None."""

    def parse(written: str) -> T | None:
        if written == word:
            return None
        try:
            return kind.parse(written)
        except ValueError as error:
            raise ValueError(f"{error}, or {word}") from error

    return Kind(f"{kind.shape}|{word}", parse, with_unit=kind.with_unit, unit=kind.unit)


def optional(kind: Kind[T]) -> Kind[T | None]:
    """A value of that kind, or none at all: its default is the empty text, which stands for None."""
    return Kind(
        kind.shape,
        lambda written: kind.parse(written) if written else None,
        kind.schema,
        with_unit=kind.with_unit,
        unit=kind.unit,
    )


def several(kind: Kind[T], *, separator: str = " ") -> Kind[tuple[T, ...]]:
    """Any number of values of that kind: one for each time that the option is given, or with the separator between them
    in one text."""

    def parse(written: str) -> tuple[T, ...]:
        parts = written.split() if separator == " " else [part.strip() for part in written.split(separator)]
        return tuple(kind.parse(part) for part in parts if part)

    def gather(occurrences: Sequence[str]) -> tuple[T, ...]:
        if separator != " ":
            return tuple(one for occurrence in occurrences for one in parse(occurrence))
        # A path on the command line may have blanks in it; in a variable it may not.
        return tuple(kind.parse(occurrence) for occurrence in occurrences if occurrence)

    schema = {"type": "array", "items": dict(kind.schema)}
    return Kind(kind.shape, parse, schema, separator=separator, gather=gather)
