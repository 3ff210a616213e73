"""Both decoders say the same of the same stream: pictures by their bytes, times, and how they are after each unit."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from genlock_core.bounds import Holdings
from genlock_core.media import AccessUnit, Codec
from genlock_core.spec.session import PictureFit
from genlock_worker.intake.decode import KEPT_LIMIT, PICTURES_LIMIT, Decoder
from genlock_worker.intake.decoding import DecodedFrame, VideoDecoder
from tests.bitstreams import bits, clips
from tests.worker.intake.out_of_process.nurseries import Home, nursery, units

H264 = clips.h264(14)
DAMAGED = [unit.data[: len(unit.data) // 2] + bytes(9) for unit in units(H264)]


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with nursery() as made:
        yield made


@dataclass
class Seen:
    """A decoder, and what was seen of it."""

    decoder: VideoDecoder
    holdings: Holdings

    def state(self) -> tuple[object, ...]:
        held = {bound.limit.name: bound.held for bound in self.holdings.bounds}
        decoder = self.decoder
        accounts = held.get(PICTURES_LIMIT.name, 0), held.get(KEPT_LIMIT.name, 0)
        return decoder.needs_key_frame, decoder.trouble, decoder.holds, *accounts


def pictures(frames: Sequence[DecodedFrame], fit: PictureFit) -> list[tuple[object, ...]]:
    return [
        (frame.pts, frame.width, frame.height, np.asarray(frame.fitted(width=112, height=64, fit=fit)).tobytes())
        for frame in frames
    ]


def gap(made: list[AccessUnit]) -> list[AccessUnit | None]:
    return [*made[:5], None, *made[7:]]


def open_groups() -> list[AccessUnit | None]:
    """Units are lost in front of a group whose first pictures need what was lost: they must not be shown."""
    made = clips.b_frames(30, x264="open-gop=1:keyint=12")
    start = next(place for place, picture in enumerate(made) if place and bits.has_recovery_point(picture.nals))
    given: list[AccessUnit | None] = [*units(made, keys=(0, start))]
    return [*given[: start - 3], None, *given[start:]]


STREAMS: dict[str, list[AccessUnit | None]] = {
    "baseline": [*units(H264)],
    "b-frames": [*units(clips.b_frames(16))],
    "vp8": [*units(clips.vp8(10), Codec.VP8)],
    "10 bits": [
        *units(clips.h264(6, options={"preset": "ultrafast", "profile": "high10"}, pixel_format="yuv420p10le"))
    ],
    "odd sides": [*units(clips.h264(6, width=202, height=118))],
    "a gap before an open group": open_groups(),
    "a gap": gap(units(H264, keys=(0, 9))),
    "a gap and no key frame": gap(units(H264)),
    "no key frame": [*units(H264)[1:]],
    "damaged": [
        AccessUnit(Codec.H264, DAMAGED[place] if place in (4, 5) else unit.data, unit.key_frame, unit.capture_us)
        for place, unit in enumerate(units(H264, keys=(0, 9)))
    ],
    "as large as may be": [AccessUnit(Codec.VP8, bytes.fromhex("5002009d012a00100010") + bytes(40), True, 0)],
    "too large": [AccessUnit(Codec.VP8, bytes.fromhex("5002009d012a00300030") + bytes(40), True, 0)],
    "garbage": [AccessUnit(Codec.H264, bits.annex_b(bits.slice_start(5)), True, 0)],
}
"""None: units were lost."""


@pytest.mark.parametrize("fit", PictureFit)
@pytest.mark.parametrize("name", STREAMS)
def test_both_decoders_give_the_same(home: Home, name: str, fit: PictureFit) -> None:
    stream = STREAMS[name]
    codec = next(unit.codec for unit in stream if unit is not None)
    here, there = Holdings(), Holdings()
    inside = Seen(Decoder(codec, holdings=here), here)
    outside = Seen(home.decoder(codec, holdings=there), there)
    try:
        shown = 0
        for unit in stream:
            if unit is None:
                inside.decoder.gap()
                outside.decoder.gap()
                continue
            given = pictures(inside.decoder.decode(unit), fit)
            assert pictures(outside.decoder.decode(unit), fit) == given
            assert outside.state() == inside.state()
            shown += len(given)

        assert pictures(outside.decoder.drain(), fit) == pictures(inside.decoder.drain(), fit)
        assert outside.state() == inside.state()
        assert bool(shown) == (name not in ("no key frame", "too large", "garbage"))
    finally:
        outside.decoder.close()


def test_what_is_fetched_ahead_is_never_shown_as_another_picture(home: Home) -> None:
    """Whichever pictures are used, in whichever size and order."""
    inside, outside = Decoder(Codec.H264), home.decoder()
    chance = random.Random(1)
    steps: list[AccessUnit | None] = [*units(clips.b_frames(30))]
    for place in (26, 17, 8):
        steps.insert(place, None)
    try:
        for unit in steps:  # None: the stream stands still
            here_all = inside.drain() if unit is None else inside.decode(unit)
            there_all = outside.drain() if unit is None else outside.decode(unit)
            pairs = list(zip(here_all, there_all, strict=True))
            chance.shuffle(pairs)
            for here, there in chance.choice((0, 1, 3)) * pairs:
                width, height = chance.choice(((112, 64), (112, 64), (64, 112)))
                fit = chance.choice(list(PictureFit))
                wanted = here.fitted(width=width, height=height, fit=fit)
                assert np.array_equal(np.asarray(there.fitted(width=width, height=height, fit=fit)), wanted)
    finally:
        outside.close()


def test_a_stream_that_stood_still_goes_on_alike(home: Home) -> None:
    made = units(clips.b_frames(30))
    inside, outside = Decoder(Codec.H264), home.decoder()
    try:
        for place, unit in enumerate(made):
            assert pictures(outside.decode(unit), PictureFit.CROP) == pictures(inside.decode(unit), PictureFit.CROP)
            if place == 12:
                drained = pictures(inside.drain(), PictureFit.CROP)
                assert drained
                assert pictures(outside.drain(), PictureFit.CROP) == drained
    finally:
        outside.close()
