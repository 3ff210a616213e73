"""The page of all states is the one of this table, and each of them has its picture."""

from pathlib import Path

from genlock_core.situation.reference import PICTURES, page
from genlock_core.situation.states import SessionState

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_says_what_the_table_says() -> None:
    assert (DOCS / "states.md").read_text() == page(), "make it anew: python -m genlock_core.situation > docs/states.md"


def test_each_state_has_its_picture_and_there_is_no_other() -> None:
    named = {path.stem for path in (DOCS / PICTURES).glob("*.webp")}
    assert named >= {state.value for state in SessionState}, "take them anew: make screenshots"
    others = {"viewers-studio", "watch", "watch-capacity-full", "sessions"}
    assert named - {state.value for state in SessionState} == others
