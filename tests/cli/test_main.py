"""No command line, no environment and no fault of what a command stands on ends in a traceback."""

import asyncio
import errno
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.core import TyperGroup
from typer.main import get_command

from genlock_cli import encoded_source, main
from genlock_cli.api import GatewayApi
from genlock_cli.app import commands
from genlock_cli.clients.signalling import SignallingClient
from genlock_cli.door import wants_json
from genlock_cli.exit_status import ExitStatus
from genlock_cli.running import logs
from genlock_cli.up.local import LocalGenlock
from genlock_core.errors import GenlockError
from genlock_core.process.signals import StopSignals

TEXTS = st.one_of(
    st.sampled_from(
        [
            "",
            "-",
            "demo",
            "default/demo",
            "a/b/c",
            "nan",
            "0",
            "1",
            "-1",
            "1e999",
            "99999999999999999999",
            "/proc/none",
            ".",
            "/dev/null",
            "/dev/full",
            "nothing.yaml",
            "broken.yaml",
            "good.yaml",
            "binary.yaml",
            "http://127.0.0.1:9",
            "http://[",
            "ftp://x",
            "redis://127.0.0.1:9",
            "*",
            "steps=2",
            "noiseScale=nan",
            "prompt=\x1b[2J",
            "[/bold]",
            "\udcff",
            "a\0b",
            "1s",
            "5ms",
            "testsrc",
            "out.mp4",
            "--",
            "ü",
        ]
    ),
    st.text(max_size=12),
)


def words_of_all_commands() -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Each command's words, and the spellings of its options."""
    root = get_command(commands())
    assert isinstance(root, TyperGroup)
    found: list[tuple[tuple[str, ...], tuple[str, ...]]] = [((), tuple(_spellings(root)))]
    for name, command in root.commands.items():
        found.append(((name,), tuple(_spellings(command))))
        if isinstance(command, TyperGroup):
            found += [((name, below), tuple(_spellings(one))) for below, one in command.commands.items()]
    return found


def _spellings(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield from (word for word in parameter.opts if word.startswith("-"))
    yield "--help"


ALL = words_of_all_commands()
# They change the user's shell, or wait for a hub on the network.
LEFT_OUT = {"--install-completion", "--show-completion"}


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    words, options = draw(st.sampled_from([one for one in ALL if one[0] != ("models", "fetch")]))
    line = list(words)
    for _ in range(draw(st.integers(0, 5))):
        option = draw(st.sampled_from([word for word in options if word not in LEFT_OUT] + [""]))
        if option:
            line.append(option)
        if draw(st.booleans()):
            line.append(draw(TEXTS))
    return line


class FarEnough(GenlockError):
    """Nothing is started in these tests."""


@pytest.fixture
def nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command would start or wait for ends at once: processes, a model, a measurement, a second of pause."""

    async def far_enough(*_: object, **__: object) -> None:
        raise FarEnough("far enough")

    def far(*_: object, **__: object) -> None:
        raise FarEnough("far enough")

    monkeypatch.setattr(LocalGenlock, "start", far_enough)
    monkeypatch.setattr(SignallingClient, "negotiate", far_enough)
    monkeypatch.setattr("genlock_cli.profile.load", far)
    monkeypatch.setattr(logs, "_follow", lambda *_, **__: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "binary.yaml").write_bytes(b"\x00\xff\xfe")
    (tmp_path / "good.yaml").write_text(
        "apiVersion: genlock.dev/v1alpha1\nkind: StreamSession\nmetadata: {name: a}\nspec: {model: wan2.1-1.3b}\n"
    )


def run(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["genlock", *arguments])
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def check(arguments: Sequence[str], status: int, out: str, err: str) -> None:
    """What holds for whatever was typed."""
    assert status in set(ExitStatus), (status, err)
    assert "Traceback" not in out + err
    assert "nobody expected" not in err, err
    assert "\x1b" not in err
    if status in (ExitStatus.OK, ExitStatus.FAILED) and not err:
        return  # done, or something that was looked at is not as it should be
    if wants_json(arguments) and err:
        told = json.loads(err.splitlines()[-1])
        assert told["exitStatus"] == status
        assert told["detail"] or not arguments
    elif status != ExitStatus.OK and err:
        assert re.search(r"^(genlock: |no |.*: )", err, re.MULTILINE), err


@pytest.mark.usefixtures("nothing_starts")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=command_lines())
def test_whatever_is_typed_ends_in_words(
    line: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run(line, monkeypatch)
    told = capsys.readouterr()
    check(line, status, told.out, told.err)


FAULTS: list[BaseException] = [
    PermissionError(errno.EACCES, "Permission denied", "/x"),
    IsADirectoryError(errno.EISDIR, "Is a directory", "/x"),
    FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"),
    OSError(errno.ENOSPC, "No space left on device"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    TimeoutError(),
    MemoryError(),
    KeyboardInterrupt(),
    BrokenPipeError(errno.EPIPE, "Broken pipe"),
    GenlockError("on purpose"),
    ValueError("unexpected"),
    RecursionError("unexpected"),
    ExceptionGroup("unexpected", [ValueError("one")]),
    asyncio.CancelledError(),
]
USUAL_LINES = [
    ["up", "good.yaml", "--port", "0", "--json"],
    ["logs"],
    ["publish", "testsrc", "demo"],
    ["record", "demo", "out.mp4"],
    ["session", "list"],
    ["session", "set", "demo", "steps=2", "--json"],
    ["session", "token", "demo"],
    ["profile", "--model", "tiny", "--random-weights"],
]


@pytest.mark.usefixtures("nothing_starts")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_whatever_a_command_stands_on_may_break(
    fault: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise fault

    async def breaks_async(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(httpx.Client, "request", breaks)
    monkeypatch.setattr(LocalGenlock, "start", breaks_async)
    monkeypatch.setattr(SignallingClient, "negotiate", breaks_async)
    monkeypatch.setattr("genlock_cli.profile.load", breaks)
    monkeypatch.setattr("genlock_cli.running.logs.last_lines", breaks)
    monkeypatch.setattr("genlock_cli.session.command.Target.keyring", breaks)
    for line in USUAL_LINES:
        status = run(line, monkeypatch)
        told = capsys.readouterr()
        assert "Traceback" not in told.out + told.err, line
        assert status in set(ExitStatus), line
        if line != ["logs"]:
            assert status != ExitStatus.OK, line
        if line[-1] == "--json":
            assert json.loads(told.err.splitlines()[-1])["exitStatus"] == status


def test_a_video_that_breaks_the_decoder_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    video = tmp_path / "[bold]\x1b.mp4"
    video.write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(64))
    assert run(["publish", str(video), "demo"], monkeypatch) == ExitStatus.BAD_INPUT
    assert "not a video that can be read" in capsys.readouterr().err
    assert encoded_source.TEST_CARD == "testsrc"


def test_a_library_that_is_missing_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "genlock_cli.record", None)
    assert run(["record", "demo", "a.mp4"], monkeypatch) == ExitStatus.FAILED
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert "genlock_cli.record" in told


@pytest.mark.parametrize(
    ("comes", "status", "words"),
    [
        (KeyboardInterrupt(), ExitStatus.INTERRUPTED, ""),
        (
            ModuleNotFoundError("No module named 'typer'", name="typer"),
            ExitStatus.FAILED,
            "pip install 'genlock[local]'",
        ),
    ],
)
def test_what_comes_while_the_command_is_imported_is_no_traceback(
    comes: BaseException,
    status: ExitStatus,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Finder:
        """Comes up while `genlock_cli.door` is looked for."""

        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "genlock_cli.door":
                raise comes

    monkeypatch.delitem(sys.modules, "genlock_cli.door")
    monkeypatch.delattr("genlock_cli.door")
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    assert run(["session", "list"], monkeypatch) == status
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told


def test_several_manifests_are_one_request_all_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent: list[str] = []

    def creates(_: GatewayApi, text: str) -> list[object]:
        sent.append(text)
        return []

    monkeypatch.setattr(GatewayApi, "create", creates)
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(f"%YAML 1.1\n---\nname: {name}\n")
    assert run(["session", "create", str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")], monkeypatch) == 0
    assert capsys.readouterr().err == ""
    (text,) = sent
    assert [line for line in text.splitlines() if line.startswith("name")] == ["name: a", "name: b"]


@pytest.mark.parametrize("line", [["publish", "testsrc", "demo"], ["record", "demo", "out.mp4"]])
def test_ctrl_c_ends_a_command_that_still_connects(
    line: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    def soon(*, drains: bool) -> StopSignals:
        signals = StopSignals(drains=drains)
        asyncio.get_running_loop().call_soon(signals.stopping.set)
        return signals

    monkeypatch.setattr(SignallingClient, "negotiate", never)
    monkeypatch.setattr(StopSignals, "heed", soon)
    assert run([*line, "--json"], monkeypatch) == ExitStatus.INTERRUPTED
    assert json.loads(capsys.readouterr().err)["error"] == "interrupted"
