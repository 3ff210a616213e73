"""Where the end-to-end tests run: a kind cluster of their own (`e2e/cluster/up`), or one that somebody hands in.

A cluster is handed in by KUBECONFIG, together with GENLOCK_E2E_LOAD, a command that brings the images that are named
after it to the nodes. GENLOCK_E2E_ON_NODE, a command that runs something on a node (its name comes first), and
GENLOCK_E2E_ENGINE (podman or docker, which builds the images) are for clusters that differ from ours; GENLOCK_E2E_HELM
has more options for helm.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
CLUSTER = ROOT / "e2e" / "cluster"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is needed of the machine and the cluster."""

    kubeconfig: str
    load: tuple[str, ...]
    """Brings images to the nodes; their names are appended."""
    on_node: tuple[str, ...]
    """Runs a command on a node; node and command are appended."""
    engine: str
    """podman or docker: has the images."""
    own: bool
    """The cluster is ours, made by e2e/cluster."""

    @classmethod
    def find(cls, environment: Mapping[str, str]) -> Self:
        """From the environment; raises ValueError with what is missing."""
        settings = cluster_settings()
        kubeconfig = environment.get("KUBECONFIG", "")
        own = kubeconfig in {"", settings["KUBECONFIG"]}
        engine = environment.get("GENLOCK_E2E_ENGINE") or settings["ENGINE"]
        if own:
            return cls(settings["KUBECONFIG"], (f"{CLUSTER}/load",), (f"{CLUSTER}/on-node",), engine, own=True)
        if "GENLOCK_E2E_LOAD" not in environment:
            raise ValueError(
                "KUBECONFIG names a cluster that these tests did not make: say with GENLOCK_E2E_LOAD which command "
                "brings images to its nodes (`kind load docker-image --name NAME`), or unset KUBECONFIG. "
                "The tests install and remove Genlock there, drain nodes and kill pods"
            )
        return cls(
            kubeconfig,
            tuple(shlex.split(environment["GENLOCK_E2E_LOAD"])),
            tuple(shlex.split(environment.get("GENLOCK_E2E_ON_NODE", "docker exec"))),
            environment.get("GENLOCK_E2E_ENGINE") or next(filter(shutil.which, ("docker", "podman")), "docker"),
            own=False,
        )

    def enter(self) -> None:
        """Let kubectl and helm of this process and its children mean this cluster."""
        os.environ["KUBECONFIG"] = self.kubeconfig
        if self.own:
            os.environ["PATH"] = cluster_settings()["PATH"]


def cluster_settings() -> dict[str, str]:
    """What e2e/cluster/environment says."""
    command = ["bash", "-c", 'set -a; source "$0"; env -0', str(CLUSTER / "environment")]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(line.partition("=")[::2] for line in told.rstrip("\0").split("\0"))
