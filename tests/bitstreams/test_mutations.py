"""Broken streams of every kind: no crash, no growth, and pictures or a reason.

`GENLOCK_MUTATIONS` says how many of each kind; `make nightly` takes many.
"""

import os

import pytest

from genlock_gateway.rtc.ingest.choice import MAX_CANDIDATES
from genlock_gateway.rtc.ingest.h264_pictures import MAX_FRONT_BYTES
from genlock_gateway.rtc.ingest.jitter import CAPACITY_PACKETS, MAX_FRAME_BYTES
from genlock_gateway.rtc.ingest.parameter_sets import MAX_BYTES
from genlock_gateway.rtc.ingest.trouble import PATIENCE_S
from tests.bitstreams.corpus import FRAMES, KINDS, Kind
from tests.bitstreams.mutate import mutated
from tests.bitstreams.publication import Publication
from tests.bitstreams.rtp import Sent

COUNT = int(os.environ.get("GENLOCK_MUTATIONS", "200"))
LARGEST_PACKET = 1_500
BOUND_BYTES = MAX_CANDIDATES * (CAPACITY_PACKETS * LARGEST_PACKET + 2 * MAX_FRAME_BYTES + MAX_FRONT_BYTES + MAX_BYTES)


@pytest.mark.timeout(max(60, COUNT))
@pytest.mark.parametrize("name", KINDS)
async def test_a_broken_stream_does_no_harm_and_is_not_dropped_in_silence(name: str) -> None:
    kind = KINDS[name]()
    for seed in range(COUNT):
        packets = mutated(kind.packets, seed)
        publication = Publication(kind.codec, sprop=kind.sprop, turn_s=PATIENCE_S / (FRAMES - 4), reads=False)
        try:
            feed(publication, packets)
            check(publication, kind)
        except Exception as error:
            error.add_note(f"{name}, seed {seed}")
            raise
        finally:
            publication.close()


def feed(publication: Publication, packets: list[Sent]) -> None:
    publication.feed(packets)
    assert publication.held_bytes <= BOUND_BYTES
    assert len(publication.peer._sources) <= MAX_CANDIDATES


def check(publication: Publication, kind: Kind) -> None:
    """Either pictures came out, or there is a reason, or the decoder still waits for what it may lack."""
    units = publication.heard.units
    if publication.numbers or not units:
        if not publication.numbers and publication.peer._sources:
            assert publication.trouble is not None or publication.peer._trouble._since_s is not None
        return
    assert publication.trouble is not None or publication.decoder._pictureless <= publication.decoder._patience
