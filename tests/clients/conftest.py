"""The laboratory of the clients that were asked for, and what came of it in one table."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from tests.clients.catalogue import CLIENTS
from tests.clients.laboratory import Client, Runs, laboratory
from tests.clients.needs import Need, find_all
from tests.clients.page import write_page
from tests.clients.proof import Proof

PROOFS = pytest.StashKey[dict[str, Proof]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write", action="store_true", help="write docs/clients.md of what this run has seen")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[PROOFS] = {}


@pytest.fixture
def proofs(pytestconfig: pytest.Config) -> dict[str, Proof]:
    """What was seen of the clients in this run, by their ids."""
    return pytestconfig.stash[PROOFS]


@pytest.fixture(scope="session")
def asked(request: pytest.FixtureRequest) -> list[Client]:
    """The clients whose tests were selected."""
    ids = {item.callspec.params["client"].id for item in request.session.items if hasattr(item, "callspec")}
    return [client for client in CLIENTS if client.id in ids]


@pytest.fixture(scope="session")
def tools(asked: list[Client]) -> Mapping[Need, Path]:
    """What this machine has of what they need."""
    return find_all(need for client in asked for need in client.needs)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def runs(
    asked: list[Client], tools: Mapping[Need, Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Runs]:
    """The runs of the clients that can be run here, all under way."""
    clients = [client for client in asked if all(need in tools for need in client.needs)]
    async with laboratory(tmp_path_factory.mktemp("clients"), clients, tools) as lab:
        runs = Runs(lab, clients)
        try:
            yield runs
        finally:
            await runs.end()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """A line for each client: what was seen of it."""
    for name, proof in config.stash[PROOFS].items():
        terminalreporter.write_line(
            f"clients: {name:30} {proof.codec:5} first picture after {proof.first_frame_ms:5} ms, "
            f"{proof.frames} pictures of {proof.width}x{proof.height}; {proof.version}"
        )


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """The page is of one run in which every client worked."""
    proofs = session.config.stash[PROOFS]
    if not session.config.getoption("--write", default=False) or exitstatus != 0:
        return
    left_out = [client.id for client in CLIENTS if client.id not in proofs]
    if left_out:
        raise pytest.UsageError(f"docs/clients.md is of a run of all clients; this one left out {', '.join(left_out)}")
    write_page(proofs)
