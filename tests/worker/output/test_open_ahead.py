"""An encoder is open before the first picture that it is wanted for."""

import asyncio

import pytest

from genlock_core.media import Codec
from genlock_worker.output import output as output_module
from genlock_worker.output.encode import Encoder, EncoderFailure, EncoderSettings, open_encoder
from genlock_worker.output.output import Output
from tests.worker.output.test_resume import Link, channel_for, chunk, drained, running

BOTH = frozenset({Codec.H264, Codec.VP8})


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Codec]:
    """The codecs of the encoders that were opened, in their order."""
    codecs: list[Codec] = []

    def noted(codec: Codec, settings: EncoderSettings, *, h264: str = "libx264") -> Encoder:
        codecs.append(codec)
        return open_encoder(codec, settings, h264=h264)

    monkeypatch.setattr(output_module, "open_encoder", noted)
    return codecs


async def has_open(output: Output, *names: str) -> None:
    async with asyncio.timeout(20):
        while output.encoder_names != names:
            await asyncio.sleep(0.01)


async def test_an_encoder_is_open_before_there_is_a_picture_and_its_first_unit_is_an_idr(opened: list[Codec]) -> None:
    link = Link()
    async with running() as output:
        output.attach(channel_for(link))
        await has_open(output, "libx264")
        assert link.units == []
        output.add(chunk(0, 0, 1, 2, 3))
        await drained(output)
    assert [unit.key_frame for unit in link.units] == [True, False, False, False]
    assert opened == [Codec.H264]


async def test_a_codec_that_is_wanted_later_is_opened_then_and_one_that_nobody_wants_goes(opened: list[Codec]) -> None:
    async with running() as output:
        gateway = channel_for(Link())
        output.attach(gateway)
        output.set_codecs(gateway, BOTH)
        await has_open(output, "libvpx", "libx264")
        output.set_codecs(gateway, frozenset({Codec.VP8}))
        assert output.encoder_names == ("libvpx",)
        output.set_codecs(gateway, BOTH)
        await has_open(output, "libvpx", "libx264")
    assert sorted(opened) == [Codec.H264, Codec.H264, Codec.VP8]


async def test_an_encoder_whose_viewers_went_while_it_was_opened_is_not_kept(opened: list[Codec]) -> None:
    async with running() as output:
        gateway = channel_for(Link())
        output.attach(gateway)
        opening = asyncio.create_task(output._open_ahead(Codec.H264))
        await asyncio.sleep(0)
        output.detach(gateway)
        await opening
        assert output.encoder_names == ()


async def test_an_encoder_that_cannot_be_opened_is_tried_again_with_the_first_picture_and_not_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[Codec] = []

    def fails(codec: Codec, settings: EncoderSettings, *, h264: str = "libx264") -> Encoder:
        tries.append(codec)
        if len(tries) == 1:
            raise EncoderFailure("no session is free")
        return open_encoder(codec, settings, h264=h264)

    monkeypatch.setattr(output_module, "open_encoder", fails)
    link = Link()
    async with running() as output:
        output.attach(channel_for(link))
        await asyncio.sleep(0.05)
        assert len(tries) == 1
        output.add(chunk(0, 0, 1, 2, 3))
        await drained(output)
    assert len(tries) == 2
    assert len(link.units) == 4
