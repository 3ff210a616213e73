"""The command writes values as every process does, and says a mistake in one line."""

import sys
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from genlock_cli import main
from genlock_cli.options import duration_option, modern
from genlock_cli.worker_options import worker_arguments, worker_option
from genlock_worker.settings import parse_settings


def command() -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def bake(
        time: Annotated[float, duration_option("How long.", at_least_s=1.0, default="20s")] = 20.0,
        decoder: Annotated[str | None, worker_option("decoder")] = None,
        limit: Annotated[str | None, worker_option("memory-limit")] = None,
    ) -> None:
        typer.echo(f"{time} {decoder} {limit}")

    return app


def bake(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(command(), list(arguments))
    return result.exit_code, result.stdout.strip(), result.stderr


def test_what_is_left_out_is_the_default_or_nothing() -> None:
    assert bake() == (0, "20.0 None None", "")


def test_a_duration_has_its_unit_and_a_workers_option_is_passed_on_as_it_was_written() -> None:
    assert bake("--time", "1m30s", "--decoder", "tiny", "--memory-limit", "20Gi") == (0, "90.0 tiny 20Gi", "")


def test_a_plain_number_is_read_for_one_release() -> None:
    code, out, err = bake("--time", "1.5")
    assert (code, out) == (0, "1.5 None None")
    assert "write 1s500ms" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--time", "soon"], ["must be a duration", "soon"]),
        (["--time", "10ms"], ["must lie between 1s", "10ms"]),
        (["--decoder", "big"], ["GENLOCK_WORKER_DECODER", "must be one of vae, tiny", "big"]),
    ],
)
def test_a_mistake_is_refused(arguments: list[str], words: list[str]) -> None:
    code, out, err = bake(*arguments)
    assert (code, out) == (2, "")
    assert all(word in " ".join(err.replace("│", " ").split()) for word in words)


def test_help_tells_the_workers_own_words() -> None:
    _, out, _ = bake("--help")
    told = " ".join(out.replace("│", " ").split())
    assert "What makes pictures of latents" in told
    assert "vae|tiny" in told
    assert "20s" in told


def test_the_worker_reads_what_it_is_passed() -> None:
    arguments = worker_arguments(device="cuda:1", memory_limit=None, cuda_graphs="yes")
    assert arguments == ["--device=cuda:1", "--cuda-graphs=yes"]
    given = parse_settings(arguments, {}).diffusion
    assert (given.device, given.forward.cuda_graphs) == ("cuda:1", True)


def test_an_old_name_is_read_for_one_release(capsys: pytest.CaptureFixture[str]) -> None:
    assert modern(["record", "a", "--seconds", "5"]) == ["record", "a", "--duration", "5"]
    assert modern(["--seconds=5s", "-v"]) == ["--duration=5s", "-v"]
    assert capsys.readouterr().err.count("write --duration\n") == 2


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["up", "--device", "gpu"], "genlock: --device (GENLOCK_WORKER_DEVICE) must be auto, cpu, cuda or cuda:N"),
        (["record", "a", "a.mp4", "--wait", "5ms"], "genlock: --wait must lie between 1s and 744h, and is '5ms'"),
        (["up", "--workers", "many"], "genlock: Invalid value for '--workers'"),
        (["up", "--gateway", "3"], "genlock: No such option: --gateway"),
        (["upp"], "genlock: No such command 'upp'"),
        (["record", "a", "a.txt"], "genlock: a.txt has no suffix that says how to write it"),
    ],
)
def test_the_process_says_a_mistake_in_one_line(
    arguments: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["genlock", *arguments])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(line)


@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), (["up", "--help"], 0), (["--version"], 0), ([], 2)])
def test_help_is_no_mistake_and_says_nothing_on_stderr(
    arguments: list[str], status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["genlock", *arguments])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == status
    told = capsys.readouterr()
    assert told.err == ""
    assert "Usage" in told.out or told.out.startswith("genlock ")
