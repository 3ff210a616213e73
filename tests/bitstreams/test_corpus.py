"""Every kind of bitstream: the right pictures come out, a successor can go on, or the reason is told."""

import itertools

import pytest

from genlock_core.media import AccessUnit
from genlock_gateway.rtc.ingest.trouble import PATIENCE_S
from tests.bitstreams.corpus import FRAMES, KINDS, REFUSED, SHOWN, Kind
from tests.bitstreams.publication import Publication


async def published(kind: Kind, *, turn_s: float = 1 / 30) -> Publication:
    publication = Publication(kind.codec, sprop=kind.sprop, turn_s=turn_s)
    publication.feed(kind.packets)
    return publication


@pytest.mark.parametrize("name", SHOWN)
async def test_a_legal_stream_is_shown(name: str) -> None:
    kind = KINDS[name]()
    publication = await published(kind)
    numbers = publication.numbers
    assert numbers == sorted(set(numbers)), "in order, none twice"
    if kind.shown is not None:
        assert tuple(numbers) == kind.shown
    assert len(numbers) >= FRAMES // 2
    assert publication.trouble is None
    if kind.successor:
        assert publication.successors()[-1:] == numbers[-1:]
    else:
        assert publication.successors(), "it holds pictures back, as the first worker does"
    publication.close()


@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_shown_has_its_reason(name: str) -> None:
    kind = KINDS[name]()
    publication = await published(kind, turn_s=PATIENCE_S / (FRAMES - 4))
    assert publication.numbers == []
    assert publication.trouble is kind.trouble
    publication.close()


async def test_of_two_layers_only_the_larger_is_decoded() -> None:
    publication = await published(KINDS["simulcast"]())
    assert publication.sizes == {(128, 96)}
    publication.close()


async def test_a_stream_without_reordering_has_no_delay() -> None:
    kind = KINDS["slices-marker-last"]()
    publication = Publication(kind.codec)
    for turn in range(FRAMES):
        publication.feed([packet for packet in kind.packets if packet.turn == turn])
        assert publication.numbers[-1] == turn
    publication.close()


async def test_capture_times_are_those_of_the_pictures_in_the_order_in_which_they_are_shown() -> None:
    publication = await published(KINDS["b-frames"]())
    units: list[AccessUnit] = publication.heard.units
    in_order = sorted(unit.capture_us for unit in units)
    assert in_order != [unit.capture_us for unit in units]
    steps = [after - before for before, after in itertools.pairwise(in_order[4:])]
    assert all(abs(step - 33_333) < 500 for step in steps)
    publication.close()
