"""Fixtures of a real kube-apiserver on etcd: what a CRD, a policy or a role means, the API server itself says.

- `api_server`: API server and etcd, nothing else: no namespace is ever finished, no owner's children are collected.
- `control_plane`: the same with garbage collection, namespaces, disruption budgets, node lifecycle, and a scheduler.
- `kube_server`: the one of the two that the test asked for (`api_server` unless it names `control_plane`); what follows
  works on that one.
- `kube`: an `httpx.AsyncClient` of an administrator. `namespace`: the name of a fresh namespace.
- `crds`: the project's CRDs, served.

Containers run nowhere: `tests.fake_kubelet` plays the nodes. The programs come from $KUBEBUILDER_ASSETS, from where
`make envtest` puts them, or from setup-envtest. Where there are none, tests are skipped; they fail where CI=true.
"""

import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.api_server import ApiServer
from tests.envtest import AssetsMissing

TIMEOUT_S = 60.0
POLL_S = 0.05
CRD_FILES = Path(__file__).parent.parent / "manifests" / "crds"


def apply(kube: httpx.Client, path: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """Server-side apply of one object to its path; answers what is stored then."""
    answer = kube.patch(
        path,
        params={"fieldManager": "tests", "force": "true"},
        content=yaml.safe_dump(manifest),
        headers={"Content-Type": "application/apply-patch+yaml"},
    )
    if answer.is_error:
        raise AssertionError(f"{path}: {answer.status_code} {answer.text}")
    stored: dict[str, Any] = answer.json()
    return stored


def apply_crd(kube: httpx.Client, crd: dict[str, Any]) -> None:
    """Apply a CustomResourceDefinition and wait until its objects can be read."""
    name, spec = crd["metadata"]["name"], crd["spec"]
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
    apply(kube, path, crd)
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        stored = kube.get(path).json()
        conditions = {one["type"]: one for one in stored.get("status", {}).get("conditions") or []}
        served = [f"/apis/{spec['group']}/{version['name']}/{spec['names']['plural']}" for version in spec["versions"]]
        if conditions.get("Established", {}).get("status") == "True" and all(
            kube.get(one).is_success for one in served
        ):
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"{name} is not established within {TIMEOUT_S:g} s: {conditions}")
        time.sleep(POLL_S)


def load_crds() -> list[dict[str, Any]]:
    """The project's CRDs, as its manifests have them."""
    return [crd for path in sorted(CRD_FILES.glob("*.yaml")) for crd in yaml.safe_load_all(path.read_text()) if crd]


def _start(directory: Path, *, controllers: bool) -> ApiServer:
    try:
        server = ApiServer(directory, controllers=controllers)
    except AssetsMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
    server.start()
    return server


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A running API server without controllers, shared by the whole run: keep to your own `namespace`."""
    server = _start(tmp_path_factory.mktemp("api-server"), controllers=False)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A running API server with controllers and a scheduler, shared by the whole run: keep to your own `namespace`."""
    server = _start(tmp_path_factory.mktemp("control-plane"), controllers=True)
    yield server
    server.stop()


@pytest.fixture
def kube_server(request: pytest.FixtureRequest) -> ApiServer:
    """`control_plane` for a test that asks for it anywhere among its fixtures, else `api_server`."""
    name = "control_plane" if "control_plane" in request.fixturenames else "api_server"
    server: ApiServer = request.getfixturevalue(name)
    return server


@pytest.fixture
async def kube(kube_server: ApiServer) -> AsyncIterator[httpx.AsyncClient]:
    """The administrator's client; paths are the API's: `/api/v1/namespaces/...`."""
    async with kube_server.async_client() as client:
        yield client


@pytest.fixture
def namespace(kube_server: ApiServer) -> Iterator[str]:
    """A fresh namespace in which pods can be made; it is deleted after the test, which does not wait for that."""
    name = f"test-{secrets.token_hex(5)}"
    path = f"/api/v1/namespaces/{name}"
    with kube_server.client() as kube:
        apply(kube, path, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        deadline = time.monotonic() + TIMEOUT_S
        while kube_server.with_controllers and kube.get(f"{path}/serviceaccounts/default").is_error:
            if time.monotonic() > deadline:
                raise AssertionError(f"no service account in {name} within {TIMEOUT_S:g} s")
            time.sleep(POLL_S)
        yield name
        kube.delete(path)


@pytest.fixture(scope="session")
def servers_with_crds() -> set[str]:
    """URLs of the API servers that have the project's CRDs; ask for `crds` instead."""
    return set()


@pytest.fixture
def crds(kube_server: ApiServer, servers_with_crds: set[str]) -> None:
    """The project's CRDs are served. Applied once: the server checks their rules for seconds, changed or not."""
    if kube_server.url in servers_with_crds:
        return
    with kube_server.client() as kube:
        for crd in load_crds():
            apply_crd(kube, crd)
    servers_with_crds.add(kube_server.url)
