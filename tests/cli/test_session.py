import httpx
import pytest

from genlock_cli.api import problem_of
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


def test_every_mistake_that_the_gateway_found_is_told() -> None:
    errors = [{"path": "steps", "message": "at most 4"}, {"path": "prompt", "message": "is empty"}]
    body = {"title": "Unprocessable Entity", "detail": "the change has mistakes", "errors": errors}
    problem = problem_of(httpx.Response(422, json=body))
    assert str(problem) == "Unprocessable Entity: the change has mistakes: steps: at most 4; prompt: is empty"
