"""The sessions as a table: of `genlock up`, `genlock status` and `genlock session list`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from genlock_cli.plain import plain

STYLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        # Tones of a session's state.
        "good": "bold green",
        "quiet": "cyan",
        "warn": "bold yellow",
        "bad": "bold red",
        # Phases, of a gateway that tells no state.
        "Live": "bold green",
        "Assigned": "cyan",
        "Pending": "yellow",
        "Recovering": "bold yellow",
        "Draining": "yellow",
        "Ended": "dim",
        "Failed": "bold red",
    }
)
MOST_PROMPT_CELLS: Final = 48
MOST_NAME_CELLS: Final = 127
_GAP_CELLS: Final = 2
"""Between two columns."""


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    least_cells: int
    """A column is left out before it gets narrower than this."""
    value: Callable[[Mapping[str, Any]], Text]


class SessionsTable:
    """One line for each session as the gateway's API describes them, whatever their users wrote.

    In a narrow terminal the last columns of `_BY_WEIGHT` are left out, so that the others can be read.
    """

    def __init__(self, sessions: Sequence[Mapping[str, Any]]) -> None:
        self._sessions = sessions

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # What is going on is told whole, whatever has to give way for it.
        states = [_state(session).cell_len for session in self._sessions]
        columns = columns_for(options.max_width, state_cells=max(states, default=0))
        rows = [[column.value(session) for column in columns] for session in self._sessions]
        widths = _widths(columns, rows, options.max_width)
        table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
        for column, width in zip(columns, widths, strict=True):
            table.add_column(column.title, no_wrap=True, overflow="ellipsis", width=width)
        for row in rows:
            table.add_row(*row)
        yield table


def state_of(session: Mapping[str, Any]) -> str:
    """What is going on in a session, in a few words; its phase where the gateway tells no state."""
    return plain(session["state"]).replace("-", " ") if session.get("state") else plain(session.get("phase", "-"))


def concerns(sessions: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A sentence on each session that somebody should look after, as the gateway words it."""
    for session in sessions:
        situation = session.get("situation") or {}
        if situation.get("tone") in ("warn", "bad"):
            words = f"{situation.get('headline', '')}. {situation.get('detail', '')}"
            yield plain(f"{_name(session)}: {words}").strip()


def columns_for(cells: int, *, state_cells: int = 0) -> Sequence[_Column]:
    """As many of the columns, by their weight, as fit; in the order in which they are shown."""
    kept: dict[str, _Column] = {}
    left = cells + _GAP_CELLS
    for column in _BY_WEIGHT:
        if column is _STATE:
            column = replace(_STATE, least_cells=max(_STATE.least_cells, state_cells))
        left -= column.least_cells + _GAP_CELLS
        if left < 0 and kept:
            break
        kept[column.title] = column
    return [kept[column.title] for column in _COLUMNS if column.title in kept]


def _widths(columns: Sequence[_Column], rows: Sequence[Sequence[Text]], cells: int) -> list[int]:
    """What each column needs; where that is too much, the last ones give way first, down to what they keep."""
    widths = [
        max(column.least_cells, *(row[place].cell_len for row in rows), 0) for place, column in enumerate(columns)
    ]
    excess = sum(widths) + _GAP_CELLS * (len(widths) - 1) - cells
    for place in reversed(range(len(widths))):
        give = min(max(0, excess), widths[place] - columns[place].least_cells)
        widths[place] -= give
        excess -= give
    return widths


def _name(session: Mapping[str, Any]) -> str:
    return f"{session.get('namespace')}/{session.get('name')}"


def _state(session: Mapping[str, Any]) -> Text:
    tone = (session.get("situation") or {}).get("tone") or session.get("phase")
    return Text(state_of(session), style=STYLES.get(str(tone), ""))


def _cell(value: object, *, at_most: int = MOST_NAME_CELLS) -> Text:
    # As Text: rich takes brackets in a string for markup.
    return Text("-" if value is None else plain(value, at_most=at_most))


def _figure(value: object, form: str) -> Text:
    return Text(form.format(value) if isinstance(value, int | float) else "-")


def _stats(session: Mapping[str, Any]) -> Mapping[str, Any]:
    return session.get("stats") or {}


def _steps(session: Mapping[str, Any]) -> Text:
    """`2/4` where it has fewer than it asks for."""
    asked, level = session.get("steps"), session.get("level") or {}
    granted = level.get("steps")
    return _cell(asked if granted in (None, asked) else f"{granted}/{asked}")


def _late(session: Mapping[str, Any]) -> Text:
    share = _stats(session).get("missShare")
    return _figure(share * 100 if isinstance(share, int | float) else None, "{:.2f} %")


def _latency(session: Mapping[str, Any]) -> Text:
    return _figure((_stats(session).get("latencyMs") or {}).get("p50"), "{:.0f} ms")


_SESSION = _Column("SESSION", 12, lambda one: _cell(_name(one)))
_STATE = _Column("STATE", 10, _state)
_MODEL = _Column("MODEL", 11, lambda one: _cell(one.get("standIn") or one.get("model")))
_STEPS = _Column("STEPS", 5, _steps)
_WORKER = _Column("WORKER", 6, lambda one: _cell(one.get("worker")))
_FPS = _Column("FPS", 4, lambda one: _figure(_stats(one).get("outputFps"), "{:.1f}"))
_LATENCY = _Column("LATENCY", 7, _latency)
_TTFF = _Column("TTFF", 6, lambda one: _figure(_stats(one).get("firstFrameMs"), "{:.0f} ms"))
_LATE = _Column("LATE", 7, _late)
_VIEWERS = _Column("VIEWERS", 7, lambda one: _cell(one.get("viewers", 0)))
_PROMPT = _Column("PROMPT", 12, lambda one: _cell(one.get("prompt"), at_most=MOST_PROMPT_CELLS))

_COLUMNS: Final = (
    _SESSION,
    _STATE,
    _MODEL,
    _STEPS,
    _WORKER,
    _FPS,
    _LATENCY,
    _TTFF,
    _LATE,
    _VIEWERS,
    _PROMPT,
)
_BY_WEIGHT: Final = (
    _SESSION,
    _STATE,
    _FPS,
    _LATENCY,
    _WORKER,
    _VIEWERS,
    _STEPS,
    _PROMPT,
    _LATE,
    _TTFF,
    _MODEL,
)
