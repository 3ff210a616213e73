"""The chart's rights and protection on an API server of the tests; its Deployments stay away, nobody could run them."""

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from tests.api_server import ApiServer
from tests.kube_fixtures import apply

CHART: Final = Path(__file__).parents[3] / "charts" / "genlock"
RELEASE: Final = "genlock"
OPERATOR: Final = "genlock-operator"
"""The operator's service account."""
# For `helm template`, which knows of no cluster.
KUBERNETES: Final = "1.36.0"
TIMEOUT_S = 60.0
POLL_S = 0.1

_RBAC, _ADMISSION = "/apis/rbac.authorization.k8s.io/v1", "/apis/admissionregistration.k8s.io/v1"
PATHS: Final[Mapping[str, str]] = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Role": _RBAC + "/namespaces/{}/roles",
    "RoleBinding": _RBAC + "/namespaces/{}/rolebindings",
    "ClusterRole": _RBAC + "/clusterroles",
    "ClusterRoleBinding": _RBAC + "/clusterrolebindings",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "ValidatingAdmissionPolicy": _ADMISSION + "/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": _ADMISSION + "/validatingadmissionpolicybindings",
}
"""What is installed here; anything else of the chart is left out."""


class HelmMissing(Exception):
    """No helm on this machine."""

    def __init__(self) -> None:
        super().__init__("no helm on this machine: install it (https://helm.sh), or type `e2e/cluster/build`")


def find_helm() -> str:
    """helm on PATH, else the one that e2e/cluster/build made.

    Raises:
        HelmMissing: there is none.
    """
    tools = Path(os.environ.get("GENLOCK_TOOLS") or Path.home() / ".cache" / "genlock-tools")
    if found := shutil.which("helm") or shutil.which("helm", path=tools / "bin"):
        return found
    raise HelmMissing


def render(namespace: str, **values: str) -> list[dict[str, Any]]:
    """The chart's objects of the kinds of `PATHS`; a value `operator__watch__nodes` sets operator.watch.nodes."""
    settings = [part for name, value in values.items() for part in ("--set", f"{name.replace('__', '.')}={value}")]
    text = subprocess.run(
        [
            find_helm(), "template", RELEASE, str(CHART),
            "--namespace", namespace, "--kube-version", KUBERNETES, "--no-hooks", *settings,
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout  # fmt: skip
    return [one for one in yaml.safe_load_all(text) if one and one["kind"] in PATHS]


def install(server: ApiServer, **values: str) -> str:
    """Make a namespace with the chart's rights and protection; answers its name when the policy is in force."""
    namespace = f"genlock-{secrets.token_hex(4)}"
    with server.client() as kube:
        kube.post("/api/v1/namespaces", json={"metadata": {"name": namespace}}).raise_for_status()
        for one in render(namespace, **values):
            path = PATHS[one["kind"]].format(one["metadata"].get("namespace", namespace))
            apply(kube, f"{path}/{one['metadata']['name']}", one)
        _wait_for_accounts(kube, namespace)
        _wait_for_policy(kube, namespace)
    return namespace


def worker_pod(name: str, *, state: str = "Serving", **metadata: Any) -> dict[str, Any]:
    """A pod as the operator makes them, as far as policy and disruption budget look."""
    labels = {
        "app.kubernetes.io/name": "genlock-worker",
        "genlock.dev/pool": "h100",
        "genlock.dev/role": "worker",
        "genlock.dev/state": state,
    }
    containers = [{"name": "worker", "image": "none"}]
    return {
        "metadata": {"name": name, "labels": labels, **metadata},
        "spec": {"containers": containers, "automountServiceAccountToken": False},
    }


def _wait_for_accounts(kube: httpx.Client, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    deadline = time.monotonic() + TIMEOUT_S
    while kube.get(path).is_error:
        if time.monotonic() > deadline:
            raise AssertionError(f"no service account in {namespace} within {TIMEOUT_S:g} s")
        time.sleep(POLL_S)


def _wait_for_policy(kube: httpx.Client, namespace: str) -> None:
    """A policy is in force some time after it was stored."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    kube.post(path, json=worker_pod("probe")).raise_for_status()
    deadline = time.monotonic() + TIMEOUT_S
    while kube.delete(f"{path}/probe", params={"dryRun": "All"}).is_success:
        if time.monotonic() > deadline:
            raise AssertionError(f"the policy is not in force within {TIMEOUT_S:g} s")
        time.sleep(POLL_S)
