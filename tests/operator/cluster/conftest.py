"""What the tests of the API server share: the three kinds in a fresh namespace."""

import os
from collections.abc import Iterator

import httpx
import pytest

from tests.api_server import ApiServer
from tests.operator.cluster.installation import HelmMissing, install
from tests.operator.cluster.resources import POOL, PROFILE, SESSION, Resources


@pytest.fixture
def admin(kube_server: ApiServer) -> Iterator[httpx.Client]:
    """A blocking client of an administrator."""
    with kube_server.client() as client:
        yield client


@pytest.fixture
def sessions(admin: httpx.Client, namespace: str, crds: None) -> Resources:
    return Resources(admin, namespace, SESSION)


@pytest.fixture
def pools(admin: httpx.Client, namespace: str, crds: None) -> Resources:
    return Resources(admin, namespace, POOL)


@pytest.fixture
def profiles(admin: httpx.Client, namespace: str, crds: None) -> Resources:
    return Resources(admin, namespace, PROFILE)


@pytest.fixture(params=[SESSION, POOL, PROFILE])
def resources(request: pytest.FixtureRequest, admin: httpx.Client, namespace: str, crds: None) -> Resources:
    """Each kind in turn."""
    return Resources(admin, namespace, request.param)


@pytest.fixture(scope="session")
def installation(control_plane: ApiServer) -> str:
    """A namespace with the chart's rights and protection, shared by the whole run; pods there are named by the test."""
    try:
        return install(control_plane)
    except HelmMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
