"""Each client publishes to `genlock up`, or watches it, unmodified; what viewers then see is decoded and looked at."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.clients.catalogue import CLIENTS
from tests.clients.laboratory import Client, Runs
from tests.clients.needs import Need
from tests.clients.proof import Proof, shortcomings

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.id)
async def test_a_client_shows_a_picture_that_moves(
    client: Client, tools: Mapping[Need, Path], runs: Runs, proofs: dict[str, Proof]
) -> None:
    missing = [need.value.help for need in client.needs if need not in tools]
    if missing:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("; ".join(missing))
    proof = proofs[client.id] = await runs.proof(client)
    assert shortcomings(proof, size=client.size) == []
