"""What `genlock up` refuses before it starts anything."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from genlock_cli.app import commands
from genlock_cli.up import command
from genlock_cli.up.hardware import EngineName, Hardware
from genlock_cli.up.plan import UpOptions
from genlock_core.errors import GenlockError
from genlock_core.spec.engines import Coders

SESSION = "apiVersion: genlock.dev/v1alpha1\nkind: StreamSession\nmetadata: {name: a}\nspec: {model: %s}\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--profile", "nothing.yaml"], "cannot read the profile nothing.yaml"),
        (["--model", "warp"], "no profile of the model warp"),
        (["--media-host", "localhost"], "--media-host: 'localhost' does not appear to be an IPv4 or IPv6 address"),
        (["--gpus", "4"], "the diffusion engine computes on 1 GPU, not on 4: leave --gpus out"),
    ],
)
def test_a_wrong_option_is_told_at_once(options: list[str], words: str) -> None:
    result = CliRunner().invoke(commands(), ["up", "--engine", "diffusion", *options])
    assert words in str(result.exception)


def test_a_device_that_is_none_is_told_at_once() -> None:
    result = CliRunner().invoke(commands(), ["up", "--engine", "diffusion", "--device", "gpu"])
    assert result.exit_code == 2
    assert "GENLOCK_WORKER_DEVICE" in result.stderr


@pytest.mark.parametrize(
    ("device", "variable", "asked"), [(None, "cuda:1", "cuda:1"), ("cpu", "cuda:1", "cpu"), (None, "", "auto")]
)
def test_the_device_is_the_one_that_the_workers_will_use(
    device: str | None, variable: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def hardware(engine: EngineName, device: str, **_: object) -> Hardware:
        seen.append(device)
        raise GenlockError("far enough")

    monkeypatch.setenv("GENLOCK_WORKER_DEVICE", variable)
    monkeypatch.setattr(command, "hardware", hardware)
    CliRunner().invoke(commands(), ["up", "--engine", "diffusion", *(["--device", device] if device else [])])
    assert seen == [asked]


def test_a_model_that_the_engine_does_not_have_is_told_at_once(tmp_path: Path) -> None:
    manifest = tmp_path / "a.yaml"
    manifest.write_text(SESSION % "warp")
    result = CliRunner().invoke(commands(), ["up", "--engine", "diffusion", str(manifest)])
    assert "no model 'warp'; the models are: wan2.1-1.3b, wan2.1-14b, tiny" in str(result.exception)


def test_the_rows_of_ones_own_profiles_reach_the_plan_with_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, manifest = tmp_path / "profile.yaml", tmp_path / "a.yaml"
    profile.write_text(
        "apiVersion: genlock.dev/v1alpha1\nkind: ModelProfile\nmetadata: {name: mine}\nspec:\n  rows:\n"
        "    - {resolution: 512x512, steps: 2, gpuProduct: NVIDIA-H100, gpus: 4, fpsPerSession: 40, source: me}\n"
    )
    manifest.write_text(SESSION % "mine")
    given: list[UpOptions] = []

    def caught(options: UpOptions, *_: object, **__: object) -> None:
        given.append(options)
        raise GenlockError("far enough")

    monkeypatch.setattr(command, "LocalGenlock", caught)
    monkeypatch.setenv("GENLOCK_WORKER_DECODER", "tiny")
    result = CliRunner().invoke(commands(), ["up", str(manifest), "--profile", str(profile)])
    assert "far enough" in str(result.exception)
    (options,) = given
    assert options.profiles == (profile,)
    (row,) = options.own_rows
    assert (row.model, row.fps_per_session) == ("mine", 40)
    assert options.coders == Coders("vae", "tiny"), "the workers see it in the same environment"
