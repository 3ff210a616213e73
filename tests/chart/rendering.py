"""Renders the chart as `helm template` does, for the tests beside this file."""

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/genlock"
KUBE_VERSION = "1.36.0"
Manifest = dict[str, Any]


def helm() -> str:
    """The program, from PATH or the tools cache; without it the test is skipped, but in CI, which has to have it."""
    tools = os.environ.get("GENLOCK_TOOLS", str(Path.home() / ".cache/genlock-tools"))
    found = shutil.which("helm", path=f"{os.environ.get('PATH', '')}{os.pathsep}{tools}/bin")
    if found is None and os.environ.get("CI"):
        pytest.fail("CI needs helm; e2e/cluster/build makes one")
    if found is None:
        pytest.skip("helm is not there; e2e/cluster/build makes one")
    return found


@functools.cache
def template(*options: str, release: str = "genlock", namespace: str = "live") -> subprocess.CompletedProcess[str]:
    command = [helm(), "template", release, str(CHART), "--namespace", namespace, "--kube-version", KUBE_VERSION]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False)


def render(*values: str, release: str = "genlock", namespace: str = "live") -> list[Manifest]:
    """The manifests with these values (`gateway.replicas=1`); what is a list or a map is written as JSON."""
    options = [part for value in values for part in ("--set-json" if _is_json(value) else "--set", value)]
    done = template(*options, release=release, namespace=namespace)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if manifest]


def _is_json(value: str) -> bool:
    return value.partition("=")[2][:1] in ("[", "{")


def refusal(*values: str) -> str:
    """Why the chart refuses these values."""
    done = template(*(part for value in values for part in ("--set", value)))
    assert done.returncode != 0, "the chart takes them"
    return done.stderr


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one of that kind and name."""
    found = [each for each in manifests if each["kind"] == kind and each["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def pod_specs(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Every pod that the manifests make, with a name for messages."""
    for manifest in manifests:
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        if manifest["kind"] == "Pod":
            yield name, manifest["spec"]
        elif manifest["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield name, manifest["spec"]["template"]["spec"]


def environment(spec: Manifest) -> dict[str, str]:
    """The variables of a pod's one container, those from elsewhere by a stand-in."""
    (container,) = spec["containers"]
    return {each["name"]: each.get("value", _stand_in(each["name"])) for each in container.get("env", ())}


def _stand_in(name: str) -> str:
    """For a value that is not in the manifest, as its option is checked all the same."""
    return "redis://from-elsewhere" if name.endswith("_REDIS") else "from-elsewhere"
