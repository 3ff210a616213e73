"""A publisher's packets, one by one, without a network."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any, cast

import pytest
from aiortc.rtp import (
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtpPacket,
    wrap_rtx,
)

from genlock_core.bitstreams.h264 import nal_type, split_annex_b
from genlock_core.clock import ManualClock
from genlock_core.media import AccessUnit, Codec, Trouble
from genlock_gateway.rtc.egress.packetise import packetise
from genlock_gateway.rtc.ingest.choice import SILENT_S
from genlock_gateway.rtc.ingest.jitter import END_WAIT_S
from genlock_gateway.rtc.ingest.receive import PLI_MIN_INTERVAL_S, IngestPeer
from genlock_gateway.rtc.ingest.rtp_source import MAX_WAITING_BYTES, MAX_WAITING_UNITS, RtpSource
from genlock_gateway.rtc.sdp.video_format import VideoFormat
from genlock_gateway.rtc.transport.peer import PeerTransport
from tests.bitstreams import clips
from tests.bitstreams.clips import CodedPicture
from tests.gateway.rtc.clips import decode, encode
from tests.gateway.rtc.listeners import Heard

MEDIA, RTX, SSRC = 96, 97, 4242
LAYERS = ((256, 10), (192, 5_000))
"""Widths, which are the SSRCs too, and first sequence numbers of two layers."""


class FakeTransport:
    state = "connected"

    def __init__(self) -> None:
        self.sent: list[AnyRtcpPacket] = []

    def send_rtcp(self, packet: bytes) -> None:
        self.sent += RtcpPacket.parse(packet)

    def nacked(self) -> list[int]:
        return [number for packet in self.sent if isinstance(packet, RtcpRtpfbPacket) for number in packet.lost]

    def reports(self) -> list[RtcpReceiverInfo]:
        """The blocks of the last report."""
        return [packet for packet in self.sent if isinstance(packet, RtcpRrPacket)][-1].reports

    def plis(self) -> int:
        return sum(isinstance(packet, RtcpPsfbPacket) and packet.fmt == 1 for packet in self.sent)


class Rig:
    """A peer, its clock, what it sent and what it gave out; `packets` makes RTP of units."""

    def __init__(
        self,
        codec: Codec,
        *,
        rtx_ssrcs: dict[int, int] | None = None,
        sprop: str = "",
        feedback: tuple[str, ...] = ("nack", "nack pli"),
    ) -> None:
        self.clock = ManualClock()
        self.transport = FakeTransport()
        self.heard = Heard()
        video = VideoFormat(codec, MEDIA, RTX, feedback, "42e01f", 1, sprop, 0)
        self.peer = IngestPeer(
            transport=cast(PeerTransport, cast(Any, self.transport)),
            video=video,
            ssrc=1,
            listener=self.heard,
            sink=self.heard,
            clock=self.clock,
            rtx_ssrcs=rtx_ssrcs or {},
        )

    def packets(self, units: list[AccessUnit], *, first: int = 65_530, ssrc: int = SSRC) -> list[RtpPacket]:
        made = list[RtpPacket]()
        for number, unit in enumerate(units):
            payloads = packetise(unit, picture_id=number)
            for part, payload in enumerate(payloads):
                marker, sequence = int(part == len(payloads) - 1), first + len(made) & 0xFFFF
                made.append(RtpPacket(MEDIA, marker, sequence, number * 3000, ssrc, payload))
        return made

    def feed(self, packets: list[RtpPacket]) -> None:
        for packet in packets:
            self.clock.advance(0.001)
            self.peer.rtp(packet, 0)

    def close(self) -> None:
        self.transport.state = "closed"
        self.peer.closed("test")


@pytest.mark.parametrize("codec", list(Codec))
async def test_a_lost_packet_is_asked_for_and_taken_from_its_retransmission(codec: Codec) -> None:
    rig, units = Rig(codec), encode(codec, 3)
    packets = rig.packets(units)
    lost = packets.pop(7)
    rig.feed(packets)
    assert set(rig.transport.nacked()) == {lost.sequence_number}
    assert len(rig.heard.units) < 3
    rig.feed([wrap_rtx(lost, payload_type=RTX, sequence_number=9, ssrc=7)])
    assert [unit.data for unit in rig.heard.units] == [unit.data for unit in units]
    assert rig.transport.plis() == 0
    rig.close()


async def test_nothing_is_given_out_before_a_key_frame_which_is_asked_for_once() -> None:
    rig, units = Rig(Codec.H264), encode(Codec.H264, 4)
    rig.feed(rig.packets(units[1:3], first=100))
    assert (rig.heard.units, rig.transport.plis()) == ([], 1)
    rig.close()


async def test_a_publisher_that_knows_only_fir_is_asked_by_fir() -> None:
    rig, units = Rig(Codec.H264, feedback=("nack", "ccm fir")), encode(Codec.H264, 4)
    rig.feed(rig.packets(units[1:2], first=100))
    rig.clock.advance(1.0)
    rig.peer.request_key_frame()
    asked = [packet for packet in rig.transport.sent if isinstance(packet, RtcpPsfbPacket)]
    assert [(packet.fmt, packet.media_ssrc) for packet in asked] == [(4, 0)] * 2
    assert [packet.fci for packet in asked] == [SSRC.to_bytes(4, "big") + bytes([number, 0, 0, 0]) for number in (0, 1)]
    rig.close()


async def test_requests_for_key_frames_are_spaced_and_repeated() -> None:
    rig, units = Rig(Codec.VP8), encode(Codec.VP8, 1)
    rig.peer.request_key_frame()
    assert rig.transport.plis() == 0  # there is no stream yet
    rig.feed(rig.packets(units))
    first = rig.transport.plis()
    for _ in range(10):
        rig.peer.request_key_frame()
    assert rig.transport.plis() == first
    rig.clock.advance(PLI_MIN_INTERVAL_S)
    rig.peer.request_key_frame()
    assert rig.transport.plis() == first + 1
    rig.close()


async def test_another_ssrc_is_a_new_stream_when_the_first_is_silent() -> None:
    rig, units = Rig(Codec.VP8), encode(Codec.VP8, 2)
    rig.feed(rig.packets(units))
    rig.clock.advance(SILENT_S)
    rig.feed(rig.packets(units, first=9, ssrc=SSRC + 1))
    assert [unit.data for unit in rig.heard.units] == [unit.data for unit in units] * 2
    times = [unit.capture_us for unit in rig.heard.units]
    assert times == sorted(set(times))
    rig.close()


async def test_another_ssrc_is_a_new_stream_when_the_first_says_goodbye() -> None:
    rig, units = Rig(Codec.VP8), encode(Codec.VP8, 2)
    rig.feed(rig.packets(units))
    rig.peer.rtcp([RtcpByePacket(sources=[SSRC])])
    rig.feed(rig.packets(units, first=9, ssrc=SSRC + 1))
    assert len(rig.heard.units) == 4
    rig.close()


@pytest.mark.parametrize("codec", list(Codec))
async def test_a_publisher_that_begins_anew_with_another_ssrc_loses_no_picture(codec: Codec) -> None:
    rig, units = Rig(codec), encode(codec, 40)
    for life in range(3):
        packets = rig.packets(units, ssrc=SSRC + life)
        for number in range(40):
            rig.feed([packet for packet in packets if packet.timestamp == number * 3000])
            rig.clock.advance(1 / 30)
    assert [unit.data for unit in rig.heard.units] == [unit.data for unit in units] * 3
    assert rig.peer._sources.keys() == {SSRC + 2}
    rig.close()


async def test_what_waits_for_the_end_of_another_ssrc_is_bounded() -> None:
    source = RtpSource(SSRC, Rig(Codec.VP8).peer.video)
    assert not source.wait(AccessUnit(Codec.VP8, b"p", key_frame=False, capture_us=0))
    assert source.wait(AccessUnit(Codec.VP8, b"k", key_frame=True, capture_us=0))
    for number in range(1, MAX_WAITING_UNITS):
        assert source.wait(AccessUnit(Codec.VP8, b"p", key_frame=False, capture_us=number))
    assert not source.wait(AccessUnit(Codec.VP8, b"p", key_frame=False, capture_us=99))
    large = AccessUnit(Codec.VP8, bytes(MAX_WAITING_BYTES + 1), key_frame=True, capture_us=0)
    assert not source.wait(large)
    assert source.take_waiting() == []


@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize("large_first", [True, False])
async def test_of_two_layers_the_larger_is_kept(codec: Codec, *, large_first: bool) -> None:
    rig = Rig(codec)
    large, small = encode(codec, 60, width=256, height=144), encode(codec, 60, width=128, height=80)
    layers = [rig.packets(large, ssrc=1), rig.packets(small, ssrc=2)]
    for number in range(60):
        for layer in layers if large_first else layers[::-1]:
            rig.feed([packet for packet in layer if packet.timestamp == number * 3000])
        rig.clock.advance(1 / 30)

    given_out = [unit.data for unit in rig.heard.units]
    assert given_out[-60:] == [unit.data for unit in large]
    assert len(given_out) - 60 == (0 if large_first else 1), "at most a picture of the other one"
    rig.close()


async def test_a_retransmission_goes_to_the_stream_whose_packet_it_repeats() -> None:
    rig = Rig(Codec.VP8)
    layers = [rig.packets(encode(Codec.VP8, 3, width=width), first=first, ssrc=width) for width, first in LAYERS]
    lost = [layer.pop(3) for layer in layers]
    for layer in layers:
        rig.feed(layer)
    for packet, ssrc in zip(lost, (901, 902), strict=True):
        rig.feed([wrap_rtx(packet, payload_type=RTX, sequence_number=5, ssrc=ssrc)])
    assert all(not source.assembler.missing() for source in rig.peer._sources.values())
    assert len(rig.peer._sources) == 2
    rig.close()


async def test_the_offer_says_whose_a_retransmission_is() -> None:
    rig = Rig(Codec.VP8, rtx_ssrcs={901: 256, 902: 192})
    layers = [rig.packets(encode(Codec.VP8, 3, width=width), first=10, ssrc=width) for width, _ in LAYERS]
    lost = layers[1].pop(3)
    for layer in layers:
        rig.feed([packet for packet in layer if packet.sequence_number != lost.sequence_number])
    rig.feed([wrap_rtx(lost, payload_type=RTX, sequence_number=5, ssrc=902)])
    missing = {ssrc: source.assembler.missing() for ssrc, source in rig.peer._sources.items()}
    assert missing == {256: [lost.sequence_number], 192: []}, "both lack a packet of that number"
    rig.close()


async def test_retransmissions_and_padding_of_their_stream_are_not_received_media() -> None:
    rig = Rig(Codec.VP8)
    packets = rig.packets(encode(Codec.VP8, 4), first=100)
    lost = packets.pop(5)
    rig.feed(packets)
    rig.feed([wrap_rtx(lost, payload_type=RTX, sequence_number=1, ssrc=7)])
    for number in range(2, 40):
        rig.feed([wrap_rtx(packets[0], payload_type=RTX, sequence_number=number, ssrc=7)])
        rig.feed([RtpPacket(RTX, 0, number, 0, 7, b"")])
    rig.peer.connected()
    await asyncio.sleep(0)
    (report,) = rig.transport.reports()
    assert (report.ssrc, report.packets_lost) == (SSRC, 1), "the loss stays visible, and nothing is negative"
    assert report.fraction_lost == (1 << 8) // (len(packets) + 1)
    rig.close()


async def test_padding_foreign_types_and_broken_payloads_do_no_harm() -> None:
    rig, units = Rig(Codec.H264), encode(Codec.H264, 1)
    packets = rig.packets(units, first=10)
    rig.feed(
        [
            RtpPacket(RTX, 0, 1, 0, 7, b""),
            RtpPacket(111, 1, 1, 0, 8, b"sound"),
            *packets,
            RtpPacket(MEDIA, 0, packets[-1].sequence_number + 1, 0, SSRC, b""),
            RtpPacket(MEDIA, 1, packets[-1].sequence_number + 2, 3000, SSRC, b"\x18\xff\xff\x00"),
        ]
    )
    assert [unit.data for unit in rig.heard.units] == [unit.data for unit in units]
    assert rig.peer.figures.access_units == 1
    rig.close()


async def test_a_hole_that_stays_costs_one_frame_and_asks_for_a_key_frame() -> None:
    rig, units = Rig(Codec.VP8), encode(Codec.VP8, 4)
    packets = rig.packets(units)
    del packets[len(rig.packets(units[:1]))]
    rig.feed(packets)
    rig.clock.advance(1)
    while not rig.transport.plis():
        await asyncio.sleep(0.005)
    assert [unit.data for unit in rig.heard.units] == [unit.data for number, unit in enumerate(units) if number != 1]
    assert rig.peer.figures.lost_frames == 1
    rig.close()


def by_nal(pictures: list[CodedPicture], *, markers: str) -> list[RtpPacket]:
    """A packet per NAL unit; `markers`: on "all" of them, on "none", or on the "last" of a picture."""
    made = list[RtpPacket]()
    for at, picture in enumerate(pictures):
        for number, nal in enumerate(picture.nals):
            is_last = number == len(picture.nals) - 1
            marker = int({"all": True, "none": False, "last": is_last}[markers])
            made.append(RtpPacket(MEDIA, marker, 100 + len(made), 3000 * at, SSRC, nal))
    return made


@pytest.mark.parametrize("markers", ["all", "none", "last"])
@pytest.mark.parametrize("sprop_only", [True, False])
async def test_slices_are_joined_whatever_the_markers_say(markers: str, *, sprop_only: bool) -> None:
    pictures = clips.h264(12, x264="slices=4")
    sets = [nal for nal in pictures[0].nals if nal[0] & 31 in (7, 8)]
    sprop = ",".join(base64.b64encode(nal).decode() for nal in sets) if sprop_only else ""
    rig = Rig(Codec.H264, sprop=sprop)
    packets = by_nal(pictures, markers=markers)
    if sprop_only:
        packets = [packet for packet in packets if packet.payload[0] & 31 not in (6, 7, 8)]
        for number, packet in enumerate(packets):
            packet.sequence_number = number
    for number in range(12):
        rig.feed([packet for packet in packets if packet.timestamp == 3000 * number])
        if markers == "last":
            assert len(rig.heard.units) == number + 1, "ordinary streams leave at once"
        rig.clock.advance(1 / 30)
    await asyncio.sleep(END_WAIT_S * 2)

    whole = rig.heard.units[-12:]
    slices = [len([kind for kind in kinds(unit.data) if kind in (1, 5)]) for unit in whole]
    assert slices == [4] * 12
    assert len(rig.heard.units) - 12 == (markers == "all" and sprop_only), "one that left too early"
    assert len(decode(whole)) == 12
    rig.close()


async def test_parameter_sets_before_each_slice_of_a_key_frame_do_not_cut_it() -> None:
    """As GStreamer's payloader sends them with config-interval=-1."""
    pictures = clips.h264(6, x264="slices=2:keyint=3")
    sets = [nal for nal in pictures[0].nals if nal[0] & 31 in (7, 8)]
    rig = Rig(Codec.H264)
    sequence = 0
    for number, picture in enumerate(pictures):
        nals = [part for nal in picture.nals for part in ([*sets, nal] if nal[0] & 31 == 5 else [nal])]
        for at, nal in enumerate(nals):
            rig.feed([RtpPacket(MEDIA, int(at == len(nals) - 1), sequence, 3000 * number, SSRC, nal)])
            sequence += 1
        rig.clock.advance(1 / 30)
    assert [sum(kind in (1, 5) for kind in kinds(unit.data)) for unit in rig.heard.units] == [2] * 6
    assert len(decode(rig.heard.units)) == 6
    rig.close()


async def test_the_last_picture_before_a_stand_still_does_not_wait_for_the_next() -> None:
    pictures = clips.h264(3, x264="slices=4")
    rig = Rig(Codec.H264)
    rig.feed(by_nal(pictures, markers="none"))
    assert len(rig.heard.units) == 2
    rig.clock.advance(END_WAIT_S)
    await asyncio.sleep(END_WAIT_S * 2)
    assert len(rig.heard.units) == 3
    rig.close()


def kinds(data: bytes) -> list[int]:
    return [nal_type(nal) for nal in split_annex_b(data)]


def extended(nal: bytes) -> bytes:
    """An SPS of the Extended profile; other NAL units as they are."""
    return nal[:1] + b"\x58" + nal[2:] if nal[0] & 31 == 7 else nal


@pytest.mark.parametrize(
    ("spoil", "trouble"),
    [
        (lambda nals: [nal for nal in nals if nal[0] & 31 not in (7, 8)], Trouble.NO_PARAMETER_SETS),
        (lambda nals: [nal for nal in nals if nal[0] & 31 != 5], Trouble.NO_KEY_FRAME),
        (lambda nals: [extended(nal) for nal in nals], Trouble.UNSUPPORTED_PROFILE),
        (lambda nals: [b"\x1f" + nal[1:] for nal in nals], Trouble.UNDECODABLE),
    ],
    ids=["no-parameter-sets", "no-key-frame", "unsupported-profile", "undecodable"],
)
async def test_whoever_makes_no_picture_has_a_reason(
    spoil: Callable[[list[bytes]], list[bytes]], trouble: Trouble
) -> None:
    rig, pictures = Rig(Codec.H264), clips.h264(30, x264="keyint=2")
    sequence = 0
    for turn in range(200):
        nals = spoil(pictures[turn % 30].nals)
        for number, nal in enumerate(nals):
            rig.feed([RtpPacket(MEDIA, number == len(nals) - 1, sequence, 3000 * turn, SSRC, nal)])
            sequence += 1
        rig.clock.advance(1 / 30)
    assert rig.peer.trouble is trouble
    assert not rig.heard.units
    rig.close()


async def test_packets_that_cannot_be_decrypted_are_a_reason() -> None:
    rig = Rig(Codec.VP8)
    for _ in range(200):
        rig.peer.unreadable()
        rig.clock.advance(1 / 30)
    assert rig.peer.trouble is Trouble.ENCRYPTED
    rig.close()


async def test_whoever_makes_pictures_has_none() -> None:
    rig, packets = Rig(Codec.VP8), list[RtpPacket]()
    for packet in rig.packets(encode(Codec.VP8, 200)):
        if packets and packet.timestamp != packets[-1].timestamp:
            rig.clock.advance(1 / 30)
        packets.append(packet)
        rig.feed([packet])
        assert rig.peer.trouble is None
    rig.close()
