"""What is said to a peer of an older minor version: nothing that it has no word for."""

import json
from typing import Any

import pytest

from genlock_core.link.events import StatsReceived
from genlock_core.link.handshake import MINOR, SINK_DIGESTS_SINCE, TROUBLE_SINCE
from genlock_core.link.messages import LinkRole
from tests.core.link.old_peers import make_old
from tests.core.link.peers import connected, opened

REPORT: dict[str, Any] = {
    "chunk": 3,
    "sinkDigest": "a" * 64,
    "sinkDigests": {"version": 1, "rows": ["a" * 64, ""]},
    "trouble": "undecodable",
}
SINCE = {"sinkDigests": SINK_DIGESTS_SINCE, "trouble": TROUBLE_SINCE}


@pytest.mark.parametrize("minor", range(MINOR + 1))
@pytest.mark.parametrize("old", LinkRole)
def test_a_report_has_what_both_sides_have_a_word_for(
    monkeypatch: pytest.MonkeyPatch, old: LinkRole, minor: int
) -> None:
    make_old(monkeypatch, old, minor=minor)
    peers = connected()
    channel = opened(peers)
    assert peers.worker.send_stats(channel, REPORT)
    sent = b"".join(peers.worker.data_to_send())
    assert (b"sinkDigests" in sent) == (minor >= SINK_DIGESTS_SINCE)
    assert (b"trouble" in sent) == (minor >= TROUBLE_SINCE)
    peers.deliver(peers.worker, [sent])
    (told,) = peers.told(peers.gateway)
    assert isinstance(told, StatsReceived)
    known = {name: value for name, value in REPORT.items() if SINCE.get(name, 0) <= minor}
    assert json.loads(json.dumps(told.report)) == known
