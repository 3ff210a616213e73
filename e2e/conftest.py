"""What the tests share: the installation that `e2e.run` has made, and one stream that is watched throughout."""

import base64
import os
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import pytest
import pytest_asyncio

from e2e import install, kubectl
from e2e.install import NAMESPACE, RELEASE
from e2e.kubectl import Cluster
from e2e.run import ARTIFACTS
from e2e.seen import LINES, say
from e2e.show import Show, on_air
from e2e.surroundings import Surroundings
from e2e.watcher import Suffered
from genlock_core.tokens import Keyring

pytest_plugins = ["tests.leaks"]

FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def surroundings() -> Surroundings:
    """The cluster, entered."""
    found = Surroundings.find(os.environ)
    found.enter()
    return found


@pytest_asyncio.fixture(scope="session")
async def cluster(surroundings: Surroundings) -> AsyncIterator[Cluster]:
    async with kubectl.cluster() as found:
        yield found


@pytest_asyncio.fixture(scope="session")
async def keyring(cluster: Cluster) -> Keyring:
    """The installation's secrets, as the platform team reads them to make tokens."""
    secret = await cluster.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/{RELEASE}-secrets")
    assert secret is not None, "no installation: run `make e2e`"
    return Keyring.parse(base64.b64decode(secret["data"]["secrets"]).decode())


@pytest_asyncio.fixture(scope="session")
async def show(cluster: Cluster, keyring: Keyring) -> AsyncIterator[Show]:
    """The stream that everything is done to; it is on air until the last test that wants it is over."""
    ARTIFACTS.mkdir(exist_ok=True)
    async with on_air(cluster, keyring, ARTIFACTS) as live:
        await live.live()
        yield live


@pytest_asyncio.fixture
async def undisturbed(show: Show, request: pytest.FixtureRequest) -> AsyncIterator[Suffered]:
    """The stream is live before; who watches sees no cut and nothing older than before, until it is live again."""
    before = await show.live()
    await show.watcher.frames(10)
    with show.watcher.since() as suffered:
        yield suffered
        await show.live()
        await show.watcher.frames(20)
    say(request, f"{suffered}; epoch {before['epoch']} -> {(await show.view())['epoch']}")
    if suffered.cuts or suffered.steps_back:
        install.keep(Path(ARTIFACTS, request.node.name), await install.evidence())
    assert not suffered.cuts, (suffered.cuts, suffered.gaps)
    assert suffered.steps_back == 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest_asyncio.fixture(autouse=True)
async def keeps_evidence(request: pytest.FixtureRequest, surroundings: Surroundings) -> AsyncIterator[None]:
    """What the cluster looked like when a test failed, in e2e/artifacts/."""
    yield
    if request.node.stash.get(FAILED, False):
        install.keep(Path(ARTIFACTS, request.node.name), await install.evidence())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash.get(LINES, []):
        terminalreporter.section("what was seen")
        for line in lines:
            terminalreporter.write_line(line)
