"""`genlock pool`: what a gateway tells of its pools, for people and for programs."""

import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from genlock_cli.app import commands

POOL: dict[str, Any] = {
    "name": "media/gpus",
    "workers": 2,
    "ready": 2,
    "sessions": 9,
    "capacity": 2_000,
    "free": 125,
    "levels": {"at": "2026-01-01T00:00:00Z", "by": "gateway g0", "below": 2, "waiting": 1, "quality": 8.0, "gap": 0.02},
}
EXPLAINED = {**POOL, "explanation": ["default/one runs 2 of 4 steps\x1b[31m: w0 is full"], "leftOut": 3}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    paths: list[str] = []

    def answer(_client: object, _method: str, path: str, **_options: object) -> httpx.Response:
        paths.append(path)
        return httpx.Response(200, json=[POOL] if path.endswith("/pools") else EXPLAINED)

    monkeypatch.setattr(httpx.Client, "request", answer)
    return paths


def genlock(*words: str) -> str:
    result = CliRunner().invoke(commands(), ["pool", *words, "--gateway", "http://127.0.0.1:9", "--token", "t"])
    assert result.exit_code == 0, result.output
    return result.output


def test_pools_are_listed_with_what_is_free_and_who_waits(asked: list[str]) -> None:
    lines = genlock("list").splitlines()
    assert lines[1].split() == ["media/gpus", "2", "9", "0.12", "of", "2", "2", "1", "gateway", "g0"]
    assert json.loads(genlock("list", "--json")) == [POOL]
    assert asked == ["/api/v1/pools"] * 2


def test_a_pool_is_explained_in_sentences_that_move_no_cursor(asked: list[str]) -> None:
    assert genlock("explain", "media/gpus").splitlines() == [
        "media/gpus: 9 sessions, 0.12 of 2 workers are free",
        "2 run below what they ask for, 1 waits for room",
        "the levels give 98.0 % of the best quality possible; decided by gateway g0",
        "default/one runs 2 of 4 steps\\x1b[31m: w0 is full",
        "and 3 more",
    ]
    assert asked == ["/api/v1/pools/media/gpus"]


def test_one_of_a_kind_is_told_as_one(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXPLAINED, "sessions", 1)
    monkeypatch.setitem(EXPLAINED, "levels", {**POOL["levels"], "below": 1, "waiting": 0})
    assert genlock("explain", "media/gpus").splitlines()[:2] == [
        "media/gpus: 1 session, 0.12 of 2 workers are free",
        "1 runs below what it asks for, 0 wait for room",
    ]
    assert asked


def test_a_pool_on_which_nobody_decides_says_so(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXPLAINED, "levels", None)
    assert genlock("explain", "media/gpus").splitlines()[-1] == "nobody decides on its levels now"
    assert asked
