"""`genlock autoscale`: what a gateway tells of a pool's number of workers."""

import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from genlock_cli.app import commands

SCALING: dict[str, Any] = {
    "desired": 3,
    "reason": "Arrivals",
    "explanation": ["3 workers should be there\x1b[31m: who comes would find no room."],
}


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the gateway says of it."""
    told: dict[str, Any] = {"name": "media/gpus", "workers": 2, "ready": 1, "autoscaling": SCALING}

    def answer(_client: object, _method: str, path: str, **_options: object) -> httpx.Response:
        assert path == "/api/v1/pools/media/gpus"
        return httpx.Response(200, json=told)

    monkeypatch.setattr(httpx.Client, "request", answer)
    return told


def genlock(*words: str) -> str:
    result = CliRunner().invoke(commands(), ["autoscale", *words, "--gateway", "http://127.0.0.1:9", "--token", "t"])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.usefixtures("pool")
def test_it_is_explained_in_sentences_that_move_no_cursor() -> None:
    assert genlock("explain", "media/gpus").splitlines() == [
        "media/gpus: 2 workers are there, 1 ready",
        "3 workers should be there\\x1b[31m: who comes would find no room.",
    ]
    assert json.loads(genlock("explain", "media/gpus", "--json")) == SCALING


@pytest.mark.parametrize("told", [None, "left out"])
def test_without_an_operator_it_says_so(pool: dict[str, Any], told: str | None) -> None:
    if told is None:
        pool["autoscaling"] = None
    else:
        del pool["autoscaling"]  # a gateway of the release before
    (line,) = genlock("explain", "media/gpus").splitlines()
    assert line == "media/gpus: no operator says how many workers it should have; there are 2"
