"""The publisher's units: decoded in order, seen ones not used again, and whatever is lost mended by a key frame."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from genlock_core.clock import ManualClock
from genlock_core.media import AccessUnit, Codec, SourcePosition, Trouble
from genlock_core.metrics import WorkerMetrics
from genlock_core.spec.session import PictureFit, Resolution
from genlock_worker.intake import publisher
from genlock_worker.intake.decode import Decoder
from genlock_worker.intake.pattern import draw
from genlock_worker.intake.publisher import TROUBLE_AFTER_S, PublisherSource, SourceUnit
from genlock_worker.output.encode import EncoderSettings, open_encoder
from tests.bitstreams import bits, clips
from tests.bitstreams.clips import FRAME_US
from tests.worker.pattern_numbers import read_index


class Rig:
    """A source, what it asked the publisher for, and the numbers of the pictures that came out."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self.asked: list[Codec] = []
        self.clock = ManualClock()
        self.registry = CollectorRegistry()
        self.source = PublisherSource(
            session="default/demo",
            resolution=Resolution(width=128, height=96),
            fit=PictureFit.CROP,
            settle=None,
            clock=self.clock,
            executor=executor,
            metrics=WorkerMetrics(self.registry),
            decoders=Decoder,
            ask_key_frame=self.asked.append,
        )
        self.seen: list[tuple[int, int]] = []
        self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for frame in self.source.frames():
            assert frame.picture is not None
            self.seen.append((frame.position.run, read_index(frame.picture)))

    async def push(self, units: list[SourceUnit]) -> None:
        for unit in units:
            self.source.push(unit)
        for _ in range(2_000):
            if not self.source._units:
                break
            await asyncio.sleep(0.001)
        await asyncio.get_running_loop().run_in_executor(self.source._executor, int)
        await asyncio.sleep(0)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    with ThreadPoolExecutor(1) as executor:
        made = Rig(executor)
        yield made
        await made.close()


def units(count: int, *, run: int = 1, codec: Codec = Codec.H264, keys: tuple[int, ...] = ()) -> list[SourceUnit]:
    encoder = open_encoder(codec, EncoderSettings(128, 96, 16, 500_000))
    made: list[AccessUnit] = [
        encoder.encode(draw(i, width=128, height=96), capture_us=i * 62_500, idr=i in keys) for i in range(count)
    ]
    return [SourceUnit(unit, run, "a", sequence, 0.0) for sequence, unit in enumerate(made)]


async def test_frames_come_out_in_order(rig: Rig) -> None:
    await rig.push(units(10))
    assert rig.seen == [(1, i) for i in range(10)]
    assert not rig.asked


async def test_a_source_that_is_closed_keeps_no_decoder_and_no_unit_until_it_is_collected(rig: Rig) -> None:
    made = units(6)
    await rig.push(made[:4])
    await rig.close()
    rig.source.push(made[4])
    assert (has_decoder(rig.source), rig.source.is_behind) == (True, True)
    rig.source.close()
    assert (has_decoder(rig.source), rig.source.is_behind) == (False, False)


def has_decoder(source: PublisherSource) -> bool:
    return source._decoder is not None


async def test_what_viewers_have_seen_is_decoded_and_not_used(rig: Rig) -> None:
    rig.source.after = SourcePosition(1, 5 * 62_500)
    await rig.push(units(10))
    assert rig.seen == [(1, i) for i in range(6, 10)]


async def test_a_gap_asks_for_a_key_frame_once_and_waits_for_it(rig: Rig) -> None:
    made = units(16, keys=(12,))
    await rig.push(made[:5] + made[7:])
    assert rig.seen == [(1, i) for i in (0, 1, 2, 3, 4, 12, 13, 14, 15)]
    assert rig.asked == [Codec.H264], "not once per unit"


async def test_a_publisher_that_never_sends_a_key_frame_is_asked_again(rig: Rig) -> None:
    for unit in units(8)[1:]:
        await rig.push([unit])
        rig.clock.advance(0.2)
    assert not rig.seen
    assert len(rig.asked) == 3


async def test_a_new_publication_replaces_the_old_one_and_stragglers_are_dropped(rig: Rig) -> None:
    old, new = units(6, run=1), units(3, run=2, codec=Codec.VP8)
    await rig.push(old[:3] + new + old[3:])
    assert rig.seen == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
    assert (
        rig.registry.get_sample_value(
            "genlock_worker_frames_dropped_total", {"session": "default/demo", "reason": "stale"}
        )
        == 3
    )


async def test_too_many_units_are_dropped_and_never_kept(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "MAX_UNITS", 8)
    for unit in units(40):
        rig.source.push(unit)
        assert len(rig.source._units) <= 8
    assert rig.asked


@pytest.mark.parametrize(("waiting", "first_shown"), [(20, 0), (publisher.SKIPPED_UNITS - 1, 0), (120, 120)])
async def test_a_key_frame_takes_the_place_of_what_would_take_long_to_decode(
    rig: Rig, waiting: int, first_shown: int
) -> None:
    await rig.push(units(waiting + 4, keys=(waiting,)))
    assert rig.seen == [(1, i) for i in range(first_shown, waiting + 4)]
    assert not rig.asked
    dropped = rig.registry.get_sample_value(
        "genlock_worker_frames_dropped_total", {"session": "default/demo", "reason": "late"}
    )
    assert (dropped or 0) == first_shown


@pytest.mark.parametrize("most", [publisher.MAX_UNITS, 100], ids=["skipped to", "too many"])
async def test_an_older_publications_key_frame_takes_nobodys_place(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(publisher, "MAX_UNITS", most)
    await rig.push(units(100, run=2) + units(1, run=1))
    assert rig.seen == [(2, i) for i in range(100)]
    assert not rig.asked
    stale = rig.registry.get_sample_value(
        "genlock_worker_frames_dropped_total", {"session": "default/demo", "reason": "stale"}
    )
    assert stale == 1


async def test_b_frames_are_used_in_the_order_in_which_they_are_shown(rig: Rig) -> None:
    pictures = clips.b_frames(20)
    await rig.push(
        [
            SourceUnit(AccessUnit(Codec.H264, picture.data, place == 0, picture.number * FRAME_US), 1, "a", place, 0.0)
            for place, picture in enumerate(pictures)
        ]
    )
    assert rig.seen == [(1, number) for number in range(18)]
    assert not rig.asked


@pytest.mark.parametrize("sent", [1, 13])
async def test_the_last_pictures_before_a_stand_still_are_used_also_where_the_decoder_holds_them_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, sent: int
) -> None:
    monkeypatch.setattr(publisher, "STILL_S", 0.01)
    made = [
        SourceUnit(AccessUnit(Codec.H264, picture.data, place == 0, picture.number * FRAME_US), 1, "a", place, 0.0)
        for place, picture in enumerate(clips.b_frames(20))
    ]
    await rig.push(made[:sent])
    while len(rig.seen) < sent:
        await asyncio.sleep(0.001)
    assert rig.seen == [(1, number) for number in range(sent)]

    await rig.push(made[sent:])
    while len(rig.seen) < 20:
        await asyncio.sleep(0.001)
    assert rig.seen == [(1, number) for number in range(20)]
    assert not rig.asked


async def test_units_that_give_no_picture_for_a_while_are_trouble_and_a_picture_ends_it(rig: Rig) -> None:
    good = units(2)
    torn = AccessUnit(Codec.H264, b"\0\0\0\1\x65" + b"\xff" * 50, key_frame=True, capture_us=1)
    told = []
    for sequence in range(12):
        await rig.push([SourceUnit(torn, 1, "a", sequence, 0.0)])
        told.append(rig.source.trouble)
        rig.clock.advance(TROUBLE_AFTER_S / 10)
    assert told == [None] * 10 + [Trouble.UNDECODABLE] * 2

    await rig.push([replace(good[0], sequence=12)])
    told.append(rig.source.trouble)
    assert told[-1] is None


async def test_trouble_ends_with_what_arrives_and_with_the_publication(rig: Rig) -> None:
    torn = AccessUnit(Codec.H264, b"\0\0\0\1\x65" + b"\xff" * 50, key_frame=True, capture_us=1)
    await rig.push([SourceUnit(torn, 1, "a", 0, 0.0)])
    rig.clock.advance(TROUBLE_AFTER_S * 0.9)
    await rig.push([SourceUnit(torn, 1, "a", 1, 0.0)])
    rig.clock.advance(TROUBLE_AFTER_S * 0.2)
    told = [rig.source.trouble]
    rig.clock.advance(TROUBLE_AFTER_S)
    told.append(rig.source.trouble)
    await rig.push([SourceUnit(torn, 2, "a", 0, 0.0)])
    told.append(rig.source.trouble)
    assert told == [Trouble.UNDECODABLE, None, None], "nothing arrives any more; another publication has its own time"


async def test_pictures_that_are_too_large_are_trouble_of_their_own(rig: Rig) -> None:
    good = units(1)[0]
    large = AccessUnit(Codec.H264, bits.annex_b(bits.sequence_set(width=16_384)) + good.unit.data, True, 0)
    for sequence in range(2):
        await rig.push([replace(good, unit=large, sequence=sequence)])
        rig.clock.advance(TROUBLE_AFTER_S * 0.6)
    assert rig.source.trouble is Trouble.UNSUPPORTED_PROFILE
