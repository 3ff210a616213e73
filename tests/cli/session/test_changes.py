import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_cli.session.changes import parse_changes
from genlock_core.errors import BadInput
from genlock_core.stream_state.control import ControlChange


def test_changes_are_typed() -> None:
    assert parse_changes(["prompt=ink = black", "steps=3", "noiseScale=0.5", "paused=TRUE"]) == {
        "prompt": "ink = black",
        "steps": 3,
        "noiseScale": 0.5,
        "paused": True,
    }


@pytest.mark.parametrize("text", ["prompt", "colour=red", "steps=two", "paused=maybe", "=x"])
def test_a_wrong_change_says_what_is_possible(text: str) -> None:
    with pytest.raises(BadInput, match=r"prompt=|number|true or false"):
        parse_changes([text])


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "NaN", "0", "1.1", "1e999", "", "0x1", "-0.5", "one"])
def test_a_number_that_is_none_or_lies_outside_is_refused_with_the_range(number: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse_changes([f"noiseScale={number}"])
    assert str(refused.value) == f"noiseScale must be from 0.1 to 1, not {number!r}"


@pytest.mark.parametrize("number", ["0", "5", "2.0", "nan", "9" * 5_000])
def test_steps_are_a_whole_number_of_a_range(number: str) -> None:
    with pytest.raises(BadInput, match="steps must be a whole number from 1 to 4, not"):
        parse_changes([f"steps={number}"])


@pytest.mark.parametrize("prompt", ["", " ", "a\x1b[2J", "x" * 2_001, "a\udcff"])
def test_a_prompt_that_the_contract_refuses_is_refused_here(prompt: str) -> None:
    with pytest.raises(BadInput, match="prompt"):
        parse_changes([f"prompt={prompt}"])


@given(st.lists(st.text() | st.builds("{}={}".format, st.sampled_from(["prompt", "steps", "noiseScale"]), st.text())))
def test_whatever_is_written_is_a_change_that_json_can_carry_or_is_refused(texts: list[str]) -> None:
    try:
        change = parse_changes(texts)
    except BadInput:
        return
    json.dumps(change, allow_nan=False).encode("ascii")
    ControlChange.model_validate(change)
