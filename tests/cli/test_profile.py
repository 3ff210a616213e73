from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from genlock_cli import profile
from genlock_cli.app import commands
from genlock_cli.profile import Subject
from genlock_core.clock import ManualClock
from genlock_core.sizing.profile import load_profiles
from genlock_core.sizing.step_time import StepTime
from genlock_worker.engines.contract import EngineFailure, Row, StreamSettings
from genlock_worker.engines.mock import MockEngine, StepTiming

SMALL = ("--resolution", "64x64", "--duration", "100ms")


class NoMemory:
    """A meter that knows nothing."""

    def begin(self) -> None:
        pass

    def session_bytes(self, session: str) -> int | None:
        return None

    def resident_bytes(self) -> int | None:
        return None


class Engine(MockEngine):
    """Takes simulated time, has room for two sessions, and is interrupted at its `ends`-th micro-step."""

    def __init__(self, *, ends: int | None) -> None:
        self.clock = ManualClock()
        super().__init__("tiny", StepTiming(StepTime(0.05, 0.01)), self.clock, self.clock.advance)
        self.sessions, self.left = set[str](), ends

    def open(self, session: str, settings: StreamSettings) -> None:
        if len(self.sessions) == 2:
            raise EngineFailure(session, "refused: 7 MiB of memory are needed and 1 MiB are free")
        super().open(session, settings)
        self.sessions.add(session)

    def close(self, session: str) -> None:
        super().close(session)
        self.sessions.discard(session)

    def submit(self, number: int, rows: Sequence[Row]) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        super().submit(number, rows)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What `genlock profile` asked to load; `ends` may be set before."""
    asked: dict[str, object] = {}

    def load(model: str, arguments: Sequence[str], *, gpu_product: str | None, note: str, **_: object) -> Subject:
        asked.update(arguments=list(arguments), model=model, note=note)
        ends = asked.get("ends")
        engine = Engine(ends=ends if isinstance(ends, int) else None)
        monkeypatch.setattr(profile, "SystemClock", lambda: engine.clock)
        return Subject(engine, NoMemory(), (EngineFailure,), gpu_product or "CPU", "a test")

    monkeypatch.setattr(profile, "load", load)
    return asked


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(commands(), ["profile", "--model", "tiny", *SMALL, *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_profile_of_every_combination_is_written_and_shown(loaded: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    code, out, _ = run("--steps", "1-2", "--sessions", "1,2", "-o", str(path))
    rows = load_profiles([path])
    assert code == 0
    assert [(row.steps, row.sessions, row.fps_per_session) for row in rows] == [
        (1, 1, 66.7), (1, 2, 57.1), (2, 1, 57.1), (2, 2, 44.4)
    ]  # fmt: skip
    assert {(row.model, row.gpu_product, str(row.resolution)) for row in rows} == {("tiny", "CPU", "64x64")}
    assert [row.micro_step_ms for row in rows] == [60.0, 70.0, 70.0, 90.0]
    assert "64x64: a forward takes 50 ms and 10 ms for each row; beyond 95 rows nothing is gained by more" in out
    assert "4 rows of CPU" in out
    assert "57.1" in out


def test_quality_is_measured_first_and_stands_in_the_rows_of_its_steps(
    loaded: dict[str, object], tmp_path: Path
) -> None:
    path = tmp_path / "p.yaml"
    code, out, err = run("--quality", "--steps", "1,4", "--sessions", "1,2", "-o", str(path))
    assert code == 0
    qualities = {(row.steps, row.sessions): row.quality for row in load_profiles([path])}
    assert qualities[4, 1] == qualities[4, 2] == 1
    assert qualities[1, 1] == qualities[1, 2]
    assert 0 < (qualities[1, 1] or 0) < 1
    assert "64x64, 1 step: quality 0." in err
    assert f"{qualities[1, 1]:g}" in out


def test_without_being_asked_for_no_quality_is_measured(loaded: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    _, out, _ = run("--steps", "1", "--sessions", "1", "-o", str(path))
    assert [row.quality for row in load_profiles([path])] == [None]
    assert "quality" not in out


def test_a_profile_that_is_interrupted_while_quality_is_measured_writes_nothing(
    loaded: dict[str, object], tmp_path: Path
) -> None:
    loaded["ends"] = 10
    path = tmp_path / "p.yaml"
    result = CliRunner().invoke(commands(), ["profile", "--model", "tiny", *SMALL, "--quality", "-o", str(path)])
    assert isinstance(result.exception, profile.NothingMeasured)
    assert not path.exists()


def test_what_does_not_fit_is_said_and_the_rest_is_measured(loaded: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    code, _, err = run("--steps", "1", "--sessions", "1,4,8", "-o", str(path))
    assert code == 0
    assert [row.sessions for row in load_profiles([path])] == [1]
    assert "4 sessions: skipped, profile/2: refused: 7 MiB" in " ".join(err.split())
    assert "8 sessions: skipped, needs as much as" in " ".join(err.split())


def test_an_interrupted_profile_keeps_what_was_measured(loaded: dict[str, object], tmp_path: Path) -> None:
    loaded["ends"] = 60
    path = tmp_path / "p.yaml"
    code, out, _ = run("--steps", "1-4", "--sessions", "1", "-o", str(path))
    assert code == 0
    assert 0 < len(load_profiles([path])) < 4
    assert "interrupted: what was measured until then" in out


def test_nothing_measured_is_an_error_and_writes_nothing(loaded: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    result = CliRunner().invoke(
        commands(), ["profile", "--model", "tiny", *SMALL, "--steps", "1", "--sessions", "4", "-o", str(path)]
    )
    assert isinstance(result.exception, profile.NothingMeasured)
    assert "refused: 7 MiB" in str(result.exception)
    assert not path.exists()


def test_rows_of_other_machines_stay_in_the_file(loaded: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    for product in ("NVIDIA-L4", "NVIDIA-H100", "NVIDIA-L4"):
        run("--steps", "1", "--sessions", "1", "--gpu-product", product, "-o", str(path))
    assert sorted(row.gpu_product for row in load_profiles([path])) == ["NVIDIA-H100", "NVIDIA-L4"]


def test_a_file_that_holds_something_else_is_left_alone(loaded: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    run("--steps", "1", "--sessions", "1", "-o", str(path))
    before = path.read_text()
    result = CliRunner().invoke(commands(), ["profile", "--model", "wan2.1-1.3b", "-o", str(path)])
    assert "something else than the profile of wan2.1-1.3b" in str(result.exception)
    assert path.read_text() == before


def test_the_switches_are_the_workers(loaded: dict[str, object], tmp_path: Path) -> None:
    run("--steps", "1", "--sessions", "1", "--random-weights", "--compile", "yes", "-o", str(tmp_path / "p.yaml"))
    assert loaded["arguments"] == ["--random-weights=yes", "--compile=yes"]


def test_what_is_left_out_is_what_the_workers_environment_says(loaded: dict[str, object], tmp_path: Path) -> None:
    run("--steps", "1", "--sessions", "1", "-o", str(tmp_path / "p.yaml"))
    assert loaded["arguments"] == []


def test_wrong_numbers_are_told_before_anything_is_loaded(loaded: dict[str, object]) -> None:
    result = CliRunner().invoke(commands(), ["profile", "--model", "tiny", "--steps", "5"])
    assert "--steps 5: must be numbers from 1 to 4" in str(result.exception)
    assert not loaded


def test_a_file_that_cannot_be_written_is_told_before_anything_is_loaded(
    loaded: dict[str, object], tmp_path: Path
) -> None:
    path = tmp_path / "nowhere" / "p.yaml"
    result = CliRunner().invoke(commands(), ["profile", "--model", "tiny", *SMALL, "-o", str(path)])
    assert f"{path} cannot be written" in str(result.exception)
    assert not loaded


@pytest.mark.parametrize(
    ("name", "text"), [("device", "gpu"), ("dtype", "float8"), ("decoder", "big"), ("compile", "maybe"), ("fp8", "2")]
)
def test_a_mistake_in_a_workers_option_is_told_before_anything_is_loaded(
    name: str, text: str, loaded: dict[str, object]
) -> None:
    code, _, err = run(f"--{name}", text)
    assert code == 2
    assert f"GENLOCK_WORKER_{name.upper()}" in err
    assert not loaded
