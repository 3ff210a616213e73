"""The table of sessions: one line each, whatever people wrote, and readable in any terminal."""

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from genlock_cli.session.table import SessionsTable, columns_for, concerns, state_of

ANYTHING = st.text(st.characters(exclude_categories=()))


def session(**fields: Any) -> dict[str, Any]:
    return {
        "namespace": "default",
        "name": "demo",
        "phase": "Live",
        "model": "wan2.1-1.3b",
        "steps": 2,
        "worker": "w0",
        "viewers": 3,
        "prompt": "ink",
        "stats": {"outputFps": 16.0, "latencyMs": {"p50": 409.2}, "firstFrameMs": 569.0, "missShare": 0.0123},
    } | fields


def lines(*sessions: dict[str, Any], cells: int) -> list[str]:
    console = Console(file=io.StringIO(), width=cells, color_system=None)
    console.print(SessionsTable(sessions))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@settings(max_examples=50)
@given(ANYTHING, st.integers(12, 200))
def test_a_prompt_never_breaks_the_table(prompt: str, cells: int) -> None:
    assert len(lines(session(prompt=prompt), session(), cells=cells)) == 3


@pytest.mark.parametrize("prompt", ["[bold]x[/nope]", "[/]", "[link=file:///]x"])
def test_brackets_are_no_markup(prompt: str) -> None:
    assert prompt[:10] in lines(session(prompt=prompt), cells=200)[1]


def test_in_eighty_columns_whole_columns_stand_and_the_least_needed_ones_are_left_out() -> None:
    head, line = lines(session(), cells=80)
    assert head.split() == ["SESSION", "STATE", "STEPS", "WORKER", "FPS", "LATENCY", "VIEWERS", "PROMPT"]
    assert line.split() == ["default/demo", "Live", "2", "w0", "16.0", "409", "ms", "3", "ink"]


def test_the_model_is_the_one_that_runs() -> None:
    assert "wan2.1-1.3b" in lines(session(), cells=200)[1]
    assert "light" in lines(session(standIn="light"), cells=200)[1]
    assert "wan2.1-1.3b" not in lines(session(standIn="light"), cells=200)[1]


@pytest.mark.parametrize(
    ("level", "shown"),
    [(None, "4"), ({"steps": 4, "requested": 4}, "4"), ({"steps": 2, "requested": 4}, "2/4")],
    ids=["of a release that knows none", "all", "fewer"],
)
def test_steps_are_told_with_those_that_were_asked_for_where_it_has_fewer(level: Any, shown: str) -> None:
    assert lines(session(steps=4, level=level), cells=80)[1].split()[2] == shown


def test_a_prompt_that_is_too_long_ends_in_an_ellipsis_at_the_edge() -> None:
    for cells in (80, 100, 140):
        line = lines(session(prompt="x" * 300, name="y" * 60), cells=cells)[1]
        assert line.endswith("x…")
        assert len(line) <= cells


def test_a_wide_terminal_has_all_of_them() -> None:
    head, line = lines(session(), cells=140)
    assert len(head.split()) == 11
    assert "569 ms" in line
    assert "1.23 %" in line


@given(st.integers(1, 300))
def test_no_column_gets_narrower_than_it_may(cells: int) -> None:
    columns = columns_for(cells)
    assert columns[0].title == "SESSION"
    if len(columns) > 1:
        assert sum(column.least_cells + 2 for column in columns) - 2 <= cells


def test_a_state_is_told_in_words_and_a_phase_where_there_is_none() -> None:
    assert state_of(session(state="waiting-for-publisher")) == "waiting for publisher"
    assert state_of(session()) == "Live"
    assert state_of({}) == "-"


def test_what_somebody_should_look_after_is_a_sentence() -> None:
    bad = {"tone": "bad", "headline": "It has failed", "detail": "No\nworker."}
    good = {"tone": "good", "headline": "Live", "detail": ""}
    assert list(concerns([session(situation=bad), session(situation=good), session()])) == [
        "default/demo: It has failed. No worker."
    ]
