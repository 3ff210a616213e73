"""What is packed is what a run imports and replays, and nothing that git does not know."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.gpu import sources
from bench.gpu.pack import ROOT

NOT_THERE = (
    "aioice",
    "aiortc",
    "av",
    "cryptography",
    "fastapi",
    "hypothesis",
    "jwt",
    "kopf",
    "kubernetes",
    "matplotlib",
    "prometheus_client",
    "pytest",
    "redis",
    "rich",
    "typer",
    "uvicorn",
)
"""What Genlock's other parts and its tests need, and a machine with PyTorch does not have."""

IMPORTS = f"""
import sys
for name in {NOT_THERE!r}:
    sys.modules[name] = None
import bench.gpu.__main__, bench.gpu.unpack
print(bench.gpu.__main__.__file__)
"""


def test_every_folder_and_file_is_there() -> None:
    names = sources.files_of(ROOT)
    for part in sources.SOURCES:
        assert any(name == part or name.startswith(f"{part}/") for name in names), part
    assert not [name for name in names if name.endswith(".pyc")]


def test_a_run_needs_nothing_but_what_is_packed_and_what_comes_with_torch(tmp_path: Path) -> None:
    sources.copy(ROOT, tmp_path)
    environment = {"PYTHONPATH": f"{tmp_path}/core:{tmp_path}/worker:{tmp_path}", "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "bench" / "gpu" / "__main__.py")


def test_packing_again_leaves_nothing_of_before(tmp_path: Path) -> None:
    stale = tmp_path / "core" / "stale.py"
    stale.parent.mkdir()
    stale.touch()
    assert sources.copy(ROOT, tmp_path) == len(sources.files_of(ROOT))
    assert not stale.exists()
    assert sources.packed_commit(tmp_path) == sources.commit_of(ROOT)


def test_a_checkout_is_not_packed(tmp_path: Path) -> None:
    assert sources.packed_commit(tmp_path) is None


@pytest.mark.parametrize(("changed", "words"), [(False, "0123456789ab"), (True, "0123456789ab with changes")])
def test_a_commit_says_whether_the_tree_differed(*, changed: bool, words: str) -> None:
    assert str(sources.Commit("0123456789abcdef", changed)) == words
