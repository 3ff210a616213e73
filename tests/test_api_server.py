"""The API server that the tests run against: found, started, filled, interrupted and ended."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config

from tests.api_server import PERSON, ApiServer, StartFailed
from tests.envtest import API_SERVER, CONTROLLERS, AssetsMissing, find_assets
from tests.kube_fixtures import load_crds

POLL_S = 0.1


def programs(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("kube-apiserver", "etcd"):
        (folder / name).touch()
    return folder


def test_the_named_folder_comes_before_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path / "cache" / "envtest")
    monkeypatch.setenv("GENLOCK_TOOLS", str(tmp_path / "cache"))
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(programs(tmp_path / "named")))
    assert find_assets() == tmp_path / "named"


def test_a_named_folder_without_programs_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path / "cache" / "envtest")
    monkeypatch.setenv("GENLOCK_TOOLS", str(tmp_path / "cache"))
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "empty"))
    assert find_assets() == tmp_path / "cache" / "envtest"


def test_setup_envtest_is_asked_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path / "set-up")
    setup = tmp_path / "bin" / "setup-envtest"
    setup.parent.mkdir()
    setup.write_text(f'#!/bin/sh\n[ "$*" = "use -p path" ] && printf %s "{tmp_path}/set-up"\n')
    setup.chmod(0o755)
    monkeypatch.setenv("PATH", f"{setup.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("GENLOCK_TOOLS", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    assert find_assets() == tmp_path / "set-up"


def test_without_programs_the_message_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GENLOCK_TOOLS", "PATH"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    with pytest.raises(AssetsMissing, match="make envtest"):
        find_assets()


def test_a_folder_without_controllers_does_for_an_api_server_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(programs(tmp_path / "named")))
    for name in ("GENLOCK_TOOLS", "PATH"):
        monkeypatch.setenv(name, str(tmp_path))
    assert find_assets() == tmp_path / "named"
    with pytest.raises(AssetsMissing, match="kube-scheduler: type `e2e/cluster/build envtest`"):
        find_assets(API_SERVER + CONTROLLERS)


def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    assets = programs(tmp_path / "assets")
    (assets / "etcd").write_text("#!/bin/sh\necho the disk is on fire\nexit 3\n")
    (assets / "etcd").chmod(0o755)
    with pytest.raises(StartFailed, match=r"etcd: ended with code 3\nthe disk is on fire"):
        ApiServer(tmp_path / "server", assets=assets).start()


@pytest.mark.parametrize(("ci", "outcome"), [("true", "1 error"), ("", "1 skipped")])
def test_tests_are_skipped_without_programs_but_fail_in_ci(tmp_path: Path, ci: str, outcome: str) -> None:
    test = tmp_path / "test_one.py"
    test.write_text("def test_one(api_server):\n    pass\n")
    environment = {"PATH": "/nowhere", "HOME": str(tmp_path), "CI": ci}
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.kube_fixtures", "-c", os.devnull, "-o", "addopts=", "-rs", test],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert outcome in answer.stdout
    assert "make envtest" in answer.stdout


@pytest.mark.apiserver
async def test_a_namespace_takes_objects(kube: httpx.AsyncClient, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    assert (await kube.post(path, json={"metadata": {"name": "one"}})).status_code == 201
    assert [one["metadata"]["name"] for one in (await kube.get(path)).json()["items"]] == ["one"]


@pytest.mark.apiserver
async def test_a_pod_needs_no_service_account_where_nobody_makes_them(kube: httpx.AsyncClient, namespace: str) -> None:
    pod = {"metadata": {"name": "one"}, "spec": {"containers": [{"name": "one", "image": "none"}]}}
    assert (await kube.post(f"/api/v1/namespaces/{namespace}/pods", json=pod)).status_code == 201


@pytest.mark.apiserver
async def test_the_kubeconfig_is_good_for_the_kubernetes_client(api_server: ApiServer, namespace: str) -> None:
    settings = kubernetes_client.Configuration()
    await kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]
        str(api_server.kubeconfig), client_configuration=settings
    )
    async with kubernetes_client.ApiClient(settings) as connection:
        found = await kubernetes_client.CoreV1Api(connection).read_namespace(namespace)
    assert found.metadata is not None
    assert found.metadata.name == namespace


@pytest.mark.apiserver
def test_a_person_without_a_role_may_do_nothing(api_server: ApiServer, namespace: str) -> None:
    with api_server.client(PERSON) as kube:
        answer = kube.get(f"/api/v1/namespaces/{namespace}/pods")
    assert answer.status_code == 403
    assert 'User "person" cannot list resource "pods"' in answer.json()["message"]


@pytest.mark.apiserver
def test_anybody_can_be_impersonated_with_groups(api_server: ApiServer, namespace: str) -> None:
    with api_server.client("alice", groups=("system:masters",)) as kube:
        assert kube.get(f"/api/v1/namespaces/{namespace}/pods").status_code == 200


@pytest.mark.apiserver
def test_a_service_account_gets_a_token(api_server: ApiServer, namespace: str) -> None:
    with api_server.client() as kube:
        kube.post(f"/api/v1/namespaces/{namespace}/serviceaccounts", json={"metadata": {"name": "robot"}})
    token = api_server.service_account_token(namespace, "robot")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    with api_server.client() as kube:
        answer = kube.post(
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            json=review,
            headers={"Authorization": f"Bearer {token}"},
        )
    assert answer.json()["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:robot"


@pytest.mark.apiserver
def test_the_project_s_crds_are_served(api_server: ApiServer, crds: None) -> None:
    with api_server.client() as kube:
        served = {one["name"] for one in kube.get("/apis/genlock.dev/v1alpha1").json()["resources"]}
    assert {crd["spec"]["names"]["plural"] for crd in load_crds()} <= served


@pytest.mark.apiserver
def test_a_server_that_was_away_comes_back_with_what_it_knew(api_server: ApiServer, namespace: str) -> None:
    with api_server.client() as kube:
        with api_server.away(), pytest.raises(httpx.TransportError):
            kube.get(f"/api/v1/namespaces/{namespace}")
        assert kube.get(f"/api/v1/namespaces/{namespace}").status_code == 200


@pytest.mark.apiserver
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel sees to it on Linux only")
async def test_the_servers_end_with_the_process_that_started_them(api_server: ApiServer, tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from tests.api_server import ApiServer\n"
        "server = ApiServer(Path(sys.argv[1])); server.start(); print(server.url, flush=True); time.sleep(600)"
    )
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent
    )
    assert owner.stdout is not None
    url = (await owner.stdout.readline()).decode().strip()
    owner.send_signal(signal.SIGKILL)
    await owner.wait()
    async with asyncio.timeout(10):
        while await answers(url):
            await asyncio.sleep(POLL_S)


async def answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(verify=False, trust_env=False) as client:
            await client.get(url)
    except httpx.TransportError:
        return False
    return True


@pytest.mark.apiserver
async def test_the_control_plane_collects_what_an_owner_leaves(
    control_plane: ApiServer, kube: httpx.AsyncClient, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    owner = (await kube.post(path, json={"metadata": {"name": "owner"}})).json()["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    await kube.post(path, json={"metadata": {"name": "owned", "ownerReferences": [reference]}})
    await kube.delete(f"{path}/owner")
    async with asyncio.timeout(60):
        while (await kube.get(f"{path}/owned")).status_code != 404:
            await asyncio.sleep(POLL_S)


@pytest.mark.apiserver
async def test_the_control_plane_finishes_a_namespace(
    control_plane: ApiServer, kube: httpx.AsyncClient, namespace: str
) -> None:
    await kube.delete(f"/api/v1/namespaces/{namespace}")
    async with asyncio.timeout(60):
        while (await kube.get(f"/api/v1/namespaces/{namespace}")).status_code != 404:
            await asyncio.sleep(POLL_S)
