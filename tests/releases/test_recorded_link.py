"""A link with a peer of an earlier release: its bytes mean today what they meant to it, and it is told nothing else."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genlock_core.link.frames import FrameParser, FrameType, encode
from genlock_core.link.messages import LinkRole
from tests.core.link.old_peers import make_old
from tests.releases.record_link import deliver, make_ends, speakers
from tests.releases.worker_process import RELEASES

RECORDED = sorted(RELEASES.glob("*/link.json"))


def recorded(path: Path) -> Iterator[tuple[str, bytes, list[Any]]]:
    """Who spoke, what he said, and what the other end was told."""
    for entry in json.loads(path.read_text()):
        yield entry["from"], base64.b64decode(entry["bytes"]), entry["told"]


def in_words_of(event: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """The event without what the release had no word for; that says nothing, then."""
    return {name: value for name, value in event.items() if name in told or value is not None}


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.parent.name)
def test_what_a_release_said_on_the_link_is_understood_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The proofs cover both versions, so both ends say that they speak the minor version of the recording.
    make_old(monkeypatch, LinkRole.GATEWAY)
    make_old(monkeypatch, LinkRole.WORKER)
    gateway, worker, clock = make_ends()
    ends = {"gateway": (gateway, worker), "worker": (worker, gateway)}
    conversation = list(recorded(path))
    speaking = speakers(gateway, worker, clock)
    assert [who for who, _ in speaking] == [who for who, _, _ in conversation]

    for (who, speak), (_, said, told) in zip(speaking, conversation, strict=True):
        speak()
        ours, events = deliver(*ends[who], instead=said)
        assert [in_words_of(event, word) for event, word in zip(events, told, strict=True)] == told
        # What today's end says is what that release said: nothing that it could not read.
        assert ours == said


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.parent.name)
def test_every_frame_of_a_release_is_read_and_written_again_to_the_byte(path: Path) -> None:
    said: dict[str, bytes] = {"gateway": b"", "worker": b""}
    for who, data, _ in recorded(path):
        said[who] += data
    seen = set()
    for data in said.values():
        frames = FrameParser().feed(data)
        assert b"".join(part for frame in frames for part in encode(frame)) == data
        seen |= {frame.type for frame in frames}
    assert seen == set(FrameType) - {FrameType.SUBSCRIBE, FrameType.RENEW, FrameType.PICTURE}  # they came later
