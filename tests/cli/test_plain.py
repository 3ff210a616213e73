"""Whatever somebody else wrote: on a terminal it is text, and one line."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from genlock_cli.plain import plain, plain_lines

ANYTHING = st.text(st.characters(exclude_categories=()))


def test_escape_sequences_are_shown_and_not_obeyed() -> None:
    assert plain("a\x1b]0;title\x07 b\x9b31m") == "a\\x1b]0;title\\x07 b\\x9b31m"


def test_line_ends_and_tabs_are_blanks() -> None:
    assert plain(" a\r\nb\tc\u2028d ") == "a b c d"


def test_text_that_runs_the_other_way_cannot_turn_the_line_round() -> None:
    assert plain("a\u202eb") == "a\\u202eb"


def test_words_of_all_languages_stay_as_they_are() -> None:
    for words in ("Ölgemälde, süß", "水彩画", "نقاشی‌ها", "👩‍🎨 paints"):
        assert plain(words) == words


@given(ANYTHING, st.integers(1, 40))
def test_no_text_is_wider_or_higher_than_it_may_be(text: str, cells: int) -> None:
    shown = plain(text, at_most=cells)
    assert cell_len(shown) <= cells
    assert all(char.isprintable() or char in "\u200c\u200d" for char in shown)


@given(ANYTHING)
def test_a_message_keeps_its_lines_and_nothing_else_that_moves(text: str) -> None:
    shown = plain_lines(text)
    assert shown.count("\n") == text.count("\n")
    assert all(char.isprintable() or char in "\n\u200c\u200d" for char in shown)
