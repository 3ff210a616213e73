"""What `genlock up` refuses before it starts anything."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from genlock_cli.main import app

SESSION = "apiVersion: genlock.dev/v1alpha1\nkind: StreamSession\nmetadata: {name: a}\nspec: {model: %s}\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--device", "gpu"], "--device gpu: must be auto, cpu, cuda or cuda:N"),
        (["--profile", "nothing.yaml"], "cannot read the profile nothing.yaml"),
        (["--model", "warp"], "no profile of the model warp"),
    ],
)
def test_a_wrong_option_is_told_at_once(options: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["up", "--engine", "diffusion", *options])
    assert words in str(result.exception)


def test_a_model_that_the_engine_does_not_have_is_told_at_once(tmp_path: Path) -> None:
    manifest = tmp_path / "a.yaml"
    manifest.write_text(SESSION % "warp")
    result = CliRunner().invoke(app, ["up", "--engine", "diffusion", str(manifest)])
    assert "no model 'warp'; the models are: wan2.1-1.3b, wan2.1-14b, tiny" in str(result.exception)
