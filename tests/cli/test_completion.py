"""Names of sessions for the shell: asked of the gateway, bounded, and silent when it is away."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from genlock_cli.completion import names_of, process_names, session_names, within

SESSIONS = [
    {"namespace": "default", "name": "demo"},
    {"namespace": "default", "name": "dream"},
    {"namespace": "studio", "name": "desk"},
]


@pytest.mark.parametrize(
    ("incomplete", "namespace", "names"),
    [
        ("", None, ["demo", "dream", "studio/desk"]),
        ("d", None, ["demo", "dream"]),
        ("dr", None, ["dream"]),
        ("default/", None, ["default/demo", "default/dream"]),
        ("s", None, ["studio/desk"]),
        ("d", "studio", ["default/demo", "default/dream", "desk"]),
        ("x", None, []),
    ],
)
def test_a_name_stands_alone_in_its_own_namespace(incomplete: str, namespace: str | None, names: list[str]) -> None:
    assert names_of(SESSIONS, incomplete, namespace=namespace) == names


@given(st.text(max_size=5))
def test_what_is_offered_goes_on_with_what_was_typed(incomplete: str) -> None:
    assert all(name.startswith(incomplete) for name in names_of(SESSIONS, incomplete, namespace=None))


def test_what_takes_too_long_or_fails_is_nothing() -> None:
    stuck = threading.Event()

    def never() -> list[dict[str, object]]:
        stuck.wait(60)
        return [{}]

    def fails() -> list[dict[str, object]]:
        raise RuntimeError

    assert within(0.05, never) == []
    assert within(60, fails) == []
    assert within(60, lambda: [{"a": 1}]) == [{"a": 1}]
    stuck.set()


def test_processes_are_those_whose_logs_are_there(tmp_path: Path) -> None:
    context = cast(typer.Context, SimpleNamespace(params={"state_dir": tmp_path}))
    assert process_names(context, "") == []
    (tmp_path / "logs").mkdir()
    for name in ("w0", "w1", "g0"):
        (tmp_path / "logs" / f"{name}.log").touch()
    assert process_names(context, "w") == ["w0", "w1"]


class Gateway(BaseHTTPRequestHandler):
    """Answers as a gateway with two sessions."""

    def do_GET(self) -> None:
        body = b'[{"namespace": "default", "name": "demo"}, {"namespace": "studio", "name": "desk"}]'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its base
        pass


@pytest.fixture
def gateway() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def completed(line: str, cword: int) -> tuple[list[str], str]:
    """What bash would be given for the word `cword` of the line, and what would land in the user's line besides."""
    environment = os.environ | {"_GENLOCK_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(cword)}
    # A busy machine may take longer than a person would wait.
    program = (
        "import sys; sys.argv[0] = 'genlock'; from genlock_cli import completion; completion.BOUND_S = 60.0;"
        "from genlock_cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    return done.stdout.split(), done.stderr


def test_a_shell_is_offered_the_sessions_of_the_gateway_that_the_line_names(gateway: str) -> None:
    assert completed(f"genlock session show --gateway {gateway} ", 5) == (["demo", "studio/desk"], "")


@pytest.mark.parametrize("gateway", ["http://127.0.0.1:9", "nonsense"])
def test_a_gateway_that_is_away_or_an_address_that_is_none_is_silence(
    gateway: str, capsys: pytest.CaptureFixture[str]
) -> None:
    context = cast(typer.Context, SimpleNamespace(params={"gateway": gateway}))
    assert session_names(context, "") == []
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "")
