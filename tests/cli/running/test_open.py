"""`genlock open`: the address of the page, with a token where one is needed and nowhere else."""

import json
import webbrowser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from genlock_cli.api import GatewayApi
from genlock_cli.app import commands
from genlock_cli.running.open import has_browser, page_url


def session(publish: str, view: str) -> dict[str, Any]:
    return {
        "namespace": "default",
        "name": "demo",
        "access": {"publish": publish, "view": view},
        "endpoints": {"studio": "/studio/default/demo", "watch": "/watch/default/demo"},
    }


@pytest.fixture
def access(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    one = session("Token", "Public")
    monkeypatch.setattr(GatewayApi, "sessions", lambda _: [one])
    monkeypatch.setattr(GatewayApi, "session", lambda _, __: one)
    return one["access"]  # type: ignore[no-any-return]


def opened(*words: str) -> str:
    result = CliRunner().invoke(commands(["open"]), ["open", "--token", "gl1.k1.abc", "--no-browser", "--json", *words])
    assert result.exit_code == 0, result.output
    url = json.loads(result.stdout)["url"]
    assert isinstance(url, str)
    return url


def test_a_token_stands_behind_the_hash_where_one_is_needed(access: dict[str, Any]) -> None:
    base = "http://127.0.0.1:8080"
    assert opened("demo") == f"{base}/studio/default/demo#token=gl1.k1.abc"
    assert opened("demo", "--watch") == f"{base}/watch/default/demo"
    assert opened() == f"{base}/"
    access["view"] = "Token"
    assert opened() == f"{base}/#token=gl1.k1.abc"
    assert opened("demo", "--watch") == f"{base}/watch/default/demo#token=gl1.k1.abc"


def test_a_token_is_never_a_part_of_what_a_server_is_sent() -> None:
    parts = urlsplit(page_url("http://x", "/studio/default/demo", "a?b/c#d"))
    assert (parts.path, parts.query) == ("/studio/default/demo", "")
    assert "token=a%3Fb%2Fc%23d" in parts.fragment


def test_a_token_is_on_no_command_line(access: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def shows(url: str) -> bool:
        shown.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", shows)
    monkeypatch.setenv("DISPLAY", ":0")
    for words in (["demo"], ["demo", "--watch"]):
        result = CliRunner().invoke(commands(["open"]), ["open", "--token", "gl1.k1.abc", *words])
        assert result.exit_code == 0
    by_file, plainly = shown
    assert plainly == "http://127.0.0.1:8080/watch/default/demo"
    path = Path(urlsplit(by_file).path)
    assert 'url=http://127.0.0.1:8080/studio/default/demo#token=gl1.k1.abc"' in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    path.unlink()
    assert access["publish"] == "Token"


def test_without_a_screen_the_address_is_printed_alone() -> None:
    assert not has_browser({}, "linux")
    assert has_browser({"WAYLAND_DISPLAY": "wayland-0"}, "linux")
    assert has_browser({}, "darwin")
