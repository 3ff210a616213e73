"""A TURN server for the tests (tests/turn_server, on pion/turn): UDP, TCP and TLS on loopback.

It needs Go. Where there is none the fixture skips the test, or fails it when CI=true.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from genlock_cli.up.certificate import own_certificate

SOURCE = Path(__file__).parent / "turn_server"
SECRET = "a secret of the tests"
BUILD_TIMEOUT_S = 240.0
HELP = "no Go: install it (golang-go, or https://go.dev/dl) to run the tests of TURN"


@dataclass(frozen=True, slots=True)
class TurnServer:
    """A server that listens; `secret_file` has what it shares with gateways, `certificate` is what TLS shows."""

    udp: str
    tcp: str
    tls: str
    """URLs as clients are told of them."""
    secret_file: Path
    certificate: Path


@pytest.fixture(scope="session")
def turn_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, compiled."""
    go = shutil.which("go")
    if go is None:
        if os.environ.get("CI") == "true":
            pytest.fail(HELP)
        pytest.skip(HELP)
    program = tmp_path_factory.mktemp("turn") / "turn-server"
    subprocess.run([go, "build", "-o", program, "."], cwd=SOURCE, check=True, timeout=BUILD_TIMEOUT_S)
    return program


@pytest.fixture
def turn_server(turn_program: Path, tmp_path: Path) -> Iterator[TurnServer]:
    """One that runs until the test is over."""
    secret_file = tmp_path / "turn-secret"
    secret_file.write_text(SECRET)
    files = own_certificate(tmp_path, ["127.0.0.1"])
    command: list[str | Path] = [
        turn_program,
        "-secret-file",
        secret_file,
        "-certificate",
        files.certificate,
        "-key",
        files.key,
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        _, udp, tcp, tls = process.stdout.readline().split()
        yield TurnServer(
            udp=f"turn:127.0.0.1:{udp}?transport=udp",
            tcp=f"turn:127.0.0.1:{tcp}?transport=tcp",
            tls=f"turns:127.0.0.1:{tls}?transport=tcp",
            secret_file=secret_file,
            certificate=files.certificate,
        )
        process.stdin.close()
        process.wait(10)
