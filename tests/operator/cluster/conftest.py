"""What the tests of the API server share: the three kinds in a fresh namespace."""

from collections.abc import Iterator

import httpx
import pytest

from tests.api_server import ApiServer
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
