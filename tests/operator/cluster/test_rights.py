"""What the operator's service account may do, which is enough, and what it may not, which is all else."""

import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api_server import ApiServer
from tests.kube_fixtures import apply
from tests.operator.cluster.installation import OPERATOR, PATHS, render

pytestmark = pytest.mark.apiserver

GENLOCK, LEASES, EVENTS = "genlock.dev", "coordination.k8s.io", "events.k8s.io"
READ = ("get", "list", "watch")
MAY = [
    *((verb, GENLOCK, kind) for kind in ("streamsessions", "workerpools", "modelprofiles") for verb in READ),
    ("delete", GENLOCK, "streamsessions"),
    ("patch", GENLOCK, "streamsessions/status"),
    ("patch", GENLOCK, "workerpools/status"),
    *((verb, "", "pods") for verb in (*READ, "create", "patch", "delete")),
    ("create", EVENTS, "events"),
    ("create", LEASES, "leases"),
]
MAY_NOT = [
    ("patch", EVENTS, "events"),
    *((verb, "", "secrets") for verb in READ),
    *((verb, "", "configmaps") for verb in READ),
    ("create", "", "pods/exec"),
    ("create", "", "pods/eviction"),
    ("get", "", "pods/log"),
    ("patch", "", "pods/status"),
    ("patch", "", "nodes"),
    ("create", "", "serviceaccounts/token"),
    ("impersonate", "", "users"),
    ("create", GENLOCK, "streamsessions"),
    ("update", GENLOCK, "workerpools"),
    ("delete", GENLOCK, "workerpools"),
    ("delete", GENLOCK, "modelprofiles"),
    ("deletecollection", "", "pods"),
    ("list", "apps", "deployments"),
    ("patch", "policy", "poddisruptionbudgets"),
    ("create", "rbac.authorization.k8s.io", "rolebindings"),
    ("delete", "admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("list", "apiextensions.k8s.io", "customresourcedefinitions"),
]


class Account:
    """The operator's service account, signed in with its own token, in its own namespace."""

    def __init__(self, server: ApiServer, namespace: str) -> None:
        self.namespace = namespace
        self.kube = server.client()
        self.kube.headers["Authorization"] = f"Bearer {server.service_account_token(namespace, OPERATOR)}"

    def may(self, verb: str, group: str, resource: str, *, namespace: str | None = None, name: str = "") -> bool:
        kind, _, subresource = resource.partition("/")
        asked = {
            "verb": verb,
            "group": group,
            "resource": kind,
            "subresource": subresource,
            "namespace": self.namespace if namespace is None else namespace,
            "name": name,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        answer = self.kube.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=review)
        answer.raise_for_status()
        return bool(answer.json()["status"]["allowed"])


def install_rights(kube: httpx.Client, namespace: str, **values: str) -> None:
    for one in render(namespace, **values):
        if one["kind"] == "ServiceAccount" or one["kind"].endswith(("Role", "RoleBinding")):
            path = PATHS[one["kind"]].format(one["metadata"].get("namespace", namespace))
            apply(kube, f"{path}/{one['metadata']['name']}", one)


@pytest.fixture(scope="session")
def operator(api_server: ApiServer) -> Iterator[Account]:
    """As the chart installs it when it is told nothing."""
    namespace = f"rights-{secrets.token_hex(4)}"
    with api_server.client() as kube:
        kube.post("/api/v1/namespaces", json={"metadata": {"name": namespace}}).raise_for_status()
        install_rights(kube, namespace)
    account = Account(api_server, namespace)
    yield account
    account.kube.close()


def name_of(right: Any) -> str:
    verb, group, resource = right
    return f"{verb} {resource}{f'.{group}' if group else ''}"


@pytest.mark.parametrize("right", MAY, ids=name_of)
def test_the_operator_may(operator: Account, right: tuple[str, str, str]) -> None:
    assert operator.may(*right)


@pytest.mark.parametrize("right", MAY_NOT, ids=name_of)
def test_the_operator_may_not(operator: Account, right: tuple[str, str, str]) -> None:
    assert not operator.may(*right)


@pytest.mark.parametrize("right", [right for right in MAY if right[1] != LEASES], ids=name_of)
def test_nothing_of_it_reaches_another_namespace(operator: Account, right: tuple[str, str, str]) -> None:
    assert not operator.may(*right, namespace="default")


@pytest.mark.parametrize("verb", ["get", "patch"])
def test_only_its_own_lease_is_its_to_renew(operator: Account, verb: str) -> None:
    assert operator.may(verb, LEASES, "leases", name="genlock-operator")
    assert not operator.may(verb, LEASES, "leases", name="another")


@pytest.mark.parametrize(("value", "may"), [("true", True), ("false", False)])
def test_nodes_are_read_only_where_the_chart_is_told_so(
    api_server: ApiServer, namespace: str, value: str, may: bool
) -> None:
    with api_server.client() as kube:
        install_rights(kube, namespace, operator__watch__nodes=value)
    account = Account(api_server, namespace)
    assert [account.may(verb, "", "nodes", namespace="") for verb in READ] == [may] * 3
    assert not account.may("patch", "", "nodes", namespace="")
    account.kube.close()


def test_every_namespace_is_its_own_only_where_the_chart_is_told_so(api_server: ApiServer, namespace: str) -> None:
    with api_server.client() as kube:
        install_rights(kube, namespace, operator__watch__all="true")
    account = Account(api_server, namespace)
    assert account.may("create", "", "pods", namespace="default")
    assert not account.may("get", "", "secrets", namespace="default")
    account.kube.close()


@pytest.mark.parametrize("account", ["genlock-gateway", "default"])
def test_gateways_and_workers_have_no_rights_of_ours(api_server: ApiServer, operator: Account, account: str) -> None:
    user = f"system:serviceaccount:{operator.namespace}:{account}"
    with api_server.client(user, groups=("system:serviceaccounts", "system:authenticated")) as kube:
        pods = kube.get(f"/api/v1/namespaces/{operator.namespace}/pods")
        secret = kube.get(f"/api/v1/namespaces/{operator.namespace}/secrets")
    assert [pods.status_code, secret.status_code] == [403, 403]
