"""The page of all states, `docs/states.md`, made from the table; `python -m genlock_core.situation` prints it."""

from collections.abc import Iterator
from typing import Final

from genlock_core.situation.table import TABLE, StateRow
from genlock_core.situation.words import OFFERS

PICTURES: Final = "images/states"
HEAD: Final = """\
# What is going on

Every state that a session, or a page that shows it, can be in. Of those that hold, the first of this list is told: by
the pages, by `genlock`, by the API (`state`, `situation`) and, as far as it has the facts, by kubectl. This page is
made by `python -m genlock_core.situation`, its pictures by `make screenshots` (desktop and phone, light and dark).

What stands in braces is filled in. *At the page* is what only a browser can know. Who may not publish is offered to get
a publisher's link in the place of what takes that right.
"""


def page() -> str:
    """Markdown: a part for each state."""
    return "\n".join([HEAD, *(line for row in TABLE for line in _part(row))])


def _part(row: StateRow) -> Iterator[str]:
    where = ", at the page" if row.holds is None else ""
    yield f"## {row.state.value}"
    yield ""
    yield f"**{row.headline}** ({row.tone.value}{where})"
    yield ""
    if row.detail:
        yield row.detail
        yield ""
    if row.to_viewers:
        yield f"To viewers: {row.to_viewers}"
        yield ""
    if row.offers:
        yield f"Offers: {', '.join(OFFERS[offer] for offer in row.offers)}."
        yield ""
    yield f"![{row.state.value}]({PICTURES}/{row.state.value}.webp)"
    yield ""
