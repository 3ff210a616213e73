import pytest

from genlock_cli.session import parse_changes
from genlock_core.errors import GenlockError


def test_changes_are_typed() -> None:
    assert parse_changes(["prompt=ink = black", "steps=3", "noiseScale=0.5", "paused=TRUE"]) == {
        "prompt": "ink = black",
        "steps": 3,
        "noiseScale": 0.5,
        "paused": True,
    }


@pytest.mark.parametrize("text", ["prompt", "colour=red", "steps=two", "paused=maybe", "=x"])
def test_a_wrong_change_says_what_is_possible(text: str) -> None:
    with pytest.raises(GenlockError, match=r"prompt=|number|true or false"):
        parse_changes([text])
