"""Broken streams of every kind: no crash, no growth, and pictures or a reason.

`GENLOCK_MUTATIONS` says how many of each kind; `make nightly` takes many.
"""

import os
from dataclasses import replace

import pytest

from genlock_gateway.rtc.ingest.choice import MAX_CANDIDATES
from genlock_gateway.rtc.ingest.trouble import PATIENCE_S
from tests.bitstreams.corpus import FRAMES, KINDS
from tests.bitstreams.mutate import mutated
from tests.bitstreams.publication import Publication
from tests.bitstreams.rtp import Sent

COUNT = int(os.environ.get("GENLOCK_MUTATIONS", "200"))


@pytest.mark.timeout(max(60, COUNT))
@pytest.mark.parametrize("name", KINDS)
async def test_a_broken_stream_does_no_harm_and_is_not_dropped_in_silence(name: str) -> None:
    kind = KINDS[name]()
    for seed in range(COUNT):
        packets = mutated(kind.packets, seed)
        publication = Publication(kind.codec, sprop=kind.sprop, turn_s=PATIENCE_S / (FRAMES - 4), reads=False)
        try:
            feed(publication, packets)
            check(publication, packets)
        except Exception as error:
            error.add_note(f"{name}, seed {seed}")
            raise
        finally:
            publication.close()


def feed(publication: Publication, packets: list[Sent]) -> None:
    publication.feed(packets)
    assert publication.held_bytes >= 0
    assert not [bound.limit.name for bound in publication.peer.holdings.bounds if bound.is_over]
    assert len(publication.peer._sources) <= MAX_CANDIDATES


def check(publication: Publication, packets: list[Sent]) -> None:
    """Either pictures came out, or there is a reason once enough has come, or the decoder still waits for the rest."""
    if not publication.numbers:
        feed(publication, later(packets))
    if publication.numbers or len({packet.turn for packet in packets}) <= FRAMES - 4:
        return
    decoder = publication.decoder
    assert publication.trouble is not None or (publication.heard.units and decoder._pictureless <= decoder._patience)


def later(packets: list[Sent]) -> list[Sent]:
    """The same once more, as its publisher goes on."""
    return [
        replace(packet, turn=packet.turn + 1_000, sequence=packet.sequence + 500, timestamp=packet.timestamp + 90_000)
        for packet in packets
    ]
