"""Where the tests find kube-apiserver and etcd: $KUBEBUILDER_ASSETS, what `make envtest` made, or setup-envtest."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

API_SERVER = ("kube-apiserver", "etcd")
CONTROLLERS = ("kube-controller-manager", "kube-scheduler")


class AssetsMissing(Exception):
    """No folder on this machine holds these programs."""

    def __init__(self, programs: tuple[str, ...]) -> None:
        self.programs = programs
        # What setup-envtest downloads has no controllers; what is built here has.
        cure = "e2e/cluster/build envtest" if set(programs) & set(CONTROLLERS) else "make envtest"
        super().__init__(f"no folder on this machine holds {', '.join(programs)}: type `{cure}`")


def find_assets(programs: tuple[str, ...] = API_SERVER) -> Path:
    """The first folder that holds all of these programs.

    Raises:
        AssetsMissing: there is none.
    """
    for folder in _folders():
        if all((folder / name).is_file() for name in programs):
            return folder
    raise AssetsMissing(programs)


def _folders() -> Iterator[Path]:
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        yield Path(assets)
    tools = os.environ.get("GENLOCK_TOOLS")
    yield (Path(tools) if tools else Path.home() / ".cache" / "genlock-tools") / "envtest"
    if setup := shutil.which("setup-envtest"):
        answer = subprocess.run([setup, "use", "-p", "path"], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            yield Path(answer.stdout.strip())
