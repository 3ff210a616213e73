"""The images that ours stand on: named by digest where that is known, and looked up by one command."""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MANIFEST = '{"manifests": []}\n'
DIGEST = f"sha256:{hashlib.sha256(MANIFEST.encode()).hexdigest()}"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files that `images/base` reads and writes, in a folder of their own."""
    for name in ("images/base", "images/base.lock", "charts/genlock/values.yaml"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "tree" / name)
    (tmp_path / "tree/images/base.lock").write_text("# A comment stays.\npython:3.11-slim\nredis:7\n")
    return tmp_path / "tree"


@pytest.fixture
def base(tree: Path, tmp_path: Path) -> Run:
    """Runs `images/base`; `registry` is a shell script that stands for skopeo, and gets its arguments."""

    def run(*arguments: str, registry: str = "exit 1") -> subprocess.CompletedProcess[str]:
        programs = tmp_path / "bin"
        programs.mkdir(exist_ok=True)
        (programs / "skopeo").write_text(f"#!/bin/sh\n{registry}\n")
        (programs / "skopeo").chmod(0o755)
        environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        command = [str(tree / "images/base"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)

    return run


def locked_images() -> dict[str, str]:
    """Each tag of images/base.lock with its digest, or nothing."""
    lines = (ROOT / "images/base.lock").read_text().splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    return {one[0]: one[1] if len(one) > 1 else "" for one in words}


def test_a_line_of_the_lock_is_a_tag_and_the_digest_that_is_known() -> None:
    assert locked_images()
    for tag, digest in locked_images().items():
        assert re.fullmatch(r"[\w./-]+:[\w.-]+", tag), tag
        assert re.fullmatch(r"(sha256:[0-9a-f]{64})?", digest), digest


@pytest.mark.parametrize("part", ["operator", "gateway", "worker"])
def test_a_dockerfile_names_no_image_itself(part: str) -> None:
    lines = (ROOT / part / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("FROM ")] == ["FROM ${BASE_IMAGE}"]
    assert [line for line in lines if line.startswith("ARG BASE_IMAGE")] == ["ARG BASE_IMAGE"]


def test_the_redis_of_the_chart_is_that_of_the_lock() -> None:
    values = yaml.safe_load((ROOT / "charts/genlock/values.yaml").read_text())
    digest = locked_images()["redis:7"]
    assert values["redis"]["image"] == (f"redis@{digest}" if digest else "redis:7")


def test_an_image_is_taken_by_its_digest(tree: Path, base: Run) -> None:
    (tree / "images/base.lock").write_text(f"python:3.11-slim {DIGEST}\nregistry.example:5000/redis:7 {DIGEST}\n")
    assert base("python:3.11-slim").stdout == f"python@{DIGEST}\n"
    assert base("registry.example:5000/redis:7").stdout == f"registry.example:5000/redis@{DIGEST}\n"


def test_a_digest_that_nobody_looked_up_is_not_made_up(base: Run) -> None:
    done = base("python:3.11-slim")
    assert done.stdout == "python:3.11-slim\n"
    assert "make base-digests" in done.stderr


def test_an_image_that_the_lock_does_not_have_is_an_error(base: Run) -> None:
    done = base("node:22")
    assert done.returncode != 0
    assert "images/base.lock has no node:22" in done.stderr


def test_a_renewal_writes_what_the_registry_has_to_the_lock_and_to_the_chart(tree: Path, base: Run) -> None:
    done = base("--renew", registry=f"case \"$*\" in 'inspect --raw docker://'*) printf '{MANIFEST.strip()}\\n';; esac")
    assert done.returncode == 0, done.stderr
    lines = (tree / "images/base.lock").read_text().splitlines()
    assert lines == ["# A comment stays.", f"python:3.11-slim {DIGEST}", f"redis:7 {DIGEST}"]
    values = (tree / "charts/genlock/values.yaml").read_text()
    assert yaml.safe_load(values)["redis"]["image"] == f"redis@{DIGEST}"
    assert "# redis:7" in values


def test_a_second_renewal_finds_the_line_of_the_first(tree: Path, base: Run) -> None:
    for manifest in ("first", "second"):
        assert base("--renew", registry=f"printf {manifest}").returncode == 0
    digest = f"sha256:{hashlib.sha256(b'second').hexdigest()}"
    assert yaml.safe_load((tree / "charts/genlock/values.yaml").read_text())["redis"]["image"] == f"redis@{digest}"


@pytest.mark.parametrize("registry", ["exit 1", "exit 0", "case $* in *redis*) exit 1;; esac; echo manifest"])
def test_where_a_registry_does_not_answer_nothing_is_changed(tree: Path, base: Run, registry: str) -> None:
    before = {path: path.read_text() for path in (tree / "images/base.lock", tree / "charts/genlock/values.yaml")}
    done = base("--renew", registry=registry)
    assert done.returncode != 0
    assert "nothing was changed" in done.stderr
    assert {path: path.read_text() for path in before} == before
