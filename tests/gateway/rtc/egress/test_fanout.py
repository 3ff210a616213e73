"""One stream to many viewers, without a network."""

import asyncio
import struct

import pytest
from aiortc.rtp import RtcpPsfbPacket, RtcpReceiverInfo, RtcpRrPacket, RtcpRtpfbPacket, RtcpSrPacket, pack_remb_fci
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_core.clock import ManualClock
from genlock_core.media import AccessUnit, Codec
from genlock_gateway.rtc.egress.fanout import MAX_BACKLOG_FRAMES, VIEWERS_PER_TURN, Fanout
from genlock_gateway.rtc.egress.viewer_stream import RETRANSMISSION_BURST
from genlock_gateway.rtc.key_frames import MIN_INTERVAL_S, RETRY_S
from genlock_gateway.rtc.transport.demultiplexer import Route
from tests.gateway.rtc.clients import until
from tests.gateway.rtc.viewer_fakes import RTX_SSRC, SSRC, FakePort, viewer


def unit(number: int, *, key: bool = False, size: int = 3000) -> AccessUnit:
    return AccessUnit(Codec.VP8, bytes([number % 256]) * size, key_frame=key, capture_us=number * 33_333)


def fanout(clock: ManualClock | None = None) -> tuple[Fanout, list[None]]:
    asked: list[None] = []
    fan = Fanout(codec=Codec.VP8, clock=clock or ManualClock(), on_key_frame_wanted=lambda: asked.append(None))
    return fan, asked


async def settle() -> None:
    for _ in range(2 * MAX_BACKLOG_FRAMES):
        await asyncio.sleep(0)


def sequences(port: FakePort) -> list[int]:
    return [packet.sequence_number for packet in port.received() if packet.ssrc == SSRC]


async def test_viewers_that_join_at_once_make_one_request_for_a_key_frame() -> None:
    fan, asked = fanout()
    for _ in range(50):
        fan.add(viewer(ManualClock())[0])
    assert len(asked) == 1
    fan.close()


async def test_a_wish_after_a_key_frame_does_not_wait_for_the_repetition_of_the_last_wish() -> None:
    clock = ManualClock()
    fan, asked = fanout(clock)
    fan.add(viewer(clock)[0])
    fan.push(unit(0, key=True))
    fan.add(viewer(clock)[0])
    assert len(asked) == 1
    clock.advance(MIN_INTERVAL_S + 0.001)
    await until(lambda: len(asked) == 2, timeout_s=RETRY_S * 0.9)
    fan.close()


async def test_a_picture_goes_out_in_few_sends_with_one_marker() -> None:
    fan, _ = fanout()
    stream, _, port = viewer(ManualClock())
    fan.add(stream)
    fan.push(unit(0, key=True, size=12_000))
    await settle()
    packets = port.received()
    assert port.runs == [len(packets)]
    assert [packet.marker for packet in packets] == [0] * (len(packets) - 1) + [1]
    assert len({packet.timestamp for packet in packets}) == 1
    assert sequences(port)[0] == 100
    fan.close()


async def test_a_slow_loop_sheds_frames_and_goes_on_at_a_key_frame_without_a_hole() -> None:
    fan, asked = fanout()
    stream, _, port = viewer(ManualClock())
    fan.add(stream)
    fan.push(unit(0, key=True))
    await settle()
    for number in range(1, MAX_BACKLOG_FRAMES + 5):
        fan.push(unit(number))  # the loop gets no turn to send them
    assert fan.figures.dropped > 0
    assert stream._waiting
    await settle()
    assert len(asked) == 1  # within the minimum interval after a key frame
    fan.push(unit(50, key=True))
    fan.push(unit(51))
    await settle()
    numbers = sequences(port)
    assert numbers == list(range(100, 100 + len(numbers)))
    assert stream.figures.frames == 3
    fan.close()


async def test_the_loop_gets_a_turn_between_slices_of_viewers() -> None:
    fan, _ = fanout()
    ports = []
    for _ in range(2 * VIEWERS_PER_TURN + 1):
        stream, _, port = viewer(ManualClock())
        fan.add(stream)
        ports.append(port)
    fan.push(unit(0, key=True, size=10))
    served = []
    for _ in range(4):
        served.append(sum(bool(port.datagrams) for port in ports))
        await asyncio.sleep(0)
    assert served == [0, VIEWERS_PER_TURN, 2 * VIEWERS_PER_TURN, 2 * VIEWERS_PER_TURN + 1]
    fan.close()


async def test_a_viewer_that_fails_or_has_no_address_does_not_touch_the_others() -> None:
    fan, _ = fanout()
    broken, transport, _ = viewer(ManualClock())
    away, away_transport, away_port = viewer(ManualClock())
    fine, _, port = viewer(ManualClock())
    away_transport.route = None
    transport.route = None
    broken.send_frame = lambda frame: 1 / 0  # type: ignore[method-assign,assignment]
    for stream in (broken, away, fine):
        fan.add(stream)
    fan.push(unit(0, key=True))
    await settle()
    assert port.datagrams
    assert not away_port.datagrams
    assert away._waiting
    assert len(fan._viewers) == 2
    fan.close()


async def test_another_codec_is_refused_and_a_closed_fan_out_does_nothing() -> None:
    fan, asked = fanout()
    with pytest.raises(ValueError, match="H264"):
        fan.push(AccessUnit(Codec.H264, b"x", key_frame=True, capture_us=0))
    fan.close()
    fan.push(unit(0, key=True))
    fan.add(viewer(ManualClock())[0])
    fan.want_key_frame()
    assert (len(fan._viewers), fan.figures.access_units, asked) == (0, 0, [])


async def test_what_is_lost_comes_again_as_rtx_or_as_it_was() -> None:
    for rtx in (True, False):
        fan, _ = fanout()
        stream, _, port = viewer(ManualClock(), rtx=rtx)
        fan.add(stream)
        fan.push(unit(0, key=True, size=5000))
        await settle()
        first = port.datagrams[1]
        nack = RtcpRtpfbPacket(fmt=1, ssrc=5, media_ssrc=SSRC, lost=[101, 99, 30_000])
        fan.feedback(stream, [nack])
        assert stream.figures.retransmitted == 1
        if rtx:
            again = port.received()[-1]
            assert (again.ssrc, again.payload_type, again.payload[:2]) == (RTX_SSRC, 103, (101).to_bytes(2, "big"))
            assert again.payload[2:] == port.received()[1].payload
        else:
            assert port.datagrams[-1] == first
        fan.close()


async def test_a_viewer_cannot_make_the_gateway_repeat_without_end() -> None:
    clock = ManualClock()
    fan, _ = fanout(clock)
    stream, _, port = viewer(clock)
    fan.add(stream)
    fan.push(unit(0, key=True, size=20_000))
    await settle()
    sent = len(port.datagrams)
    for _ in range(100):
        fan.feedback(stream, [RtcpRtpfbPacket(fmt=1, ssrc=5, media_ssrc=SSRC, lost=list(range(100, 100 + sent)))])
    assert stream.figures.retransmitted == RETRANSMISSION_BURST
    fan.close()


async def test_pli_and_fir_want_a_key_frame_and_reports_are_kept() -> None:
    clock = ManualClock()
    fan, asked = fanout(clock)
    stream, _, _ = viewer(clock)
    fan.add(stream)
    fan.push(unit(0, key=True))
    clock.advance(1)
    assert len(asked) == 1
    fan.feedback(stream, [RtcpPsfbPacket(fmt=4, ssrc=5, media_ssrc=0), RtcpPsfbPacket(fmt=1, ssrc=5, media_ssrc=SSRC)])
    assert len(asked) == 2
    block = RtcpReceiverInfo(SSRC, 64, 0, 0, 0, 0, 0)
    remb = RtcpPsfbPacket(fmt=15, ssrc=5, media_ssrc=0, fci=pack_remb_fci(500_000, [SSRC]))
    broken = RtcpPsfbPacket(fmt=15, ssrc=5, media_ssrc=0, fci=b"REMB\xff\x00\x00\x00")
    fan.feedback(stream, [RtcpRrPacket(ssrc=5, reports=[block]), remb, broken])
    assert (stream.figures.fraction_lost, stream.figures.estimated_bps) == (0.25, 500_000)
    assert len(asked) == 2
    fan.close()


async def test_sender_reports_pair_the_wall_clock_with_the_streams_time() -> None:
    clock = ManualClock(wall_ms=1_700_000_000_500)
    fan, _ = fanout(clock)
    stream, transport, port = viewer(clock)
    fan.add(stream)
    fan.push(unit(0, key=True))
    await settle()
    clock.advance(2)
    fan.push(unit(60))
    await settle()
    report = next(packet for packet in transport.rtcp if isinstance(packet, RtcpSrPacket))
    assert report.sender_info.ntp_timestamp >> 32 == 1_700_000_002 + 2_208_988_800
    assert report.sender_info.ntp_timestamp & 0xFFFFFFFF == 1 << 31
    assert report.sender_info.rtp_timestamp == port.received()[-1].timestamp
    assert report.sender_info.packet_count == len(port.received())
    fan.close()


@given(
    st.lists(st.tuples(st.sampled_from(["key", "delta", "nack", "wait", "away"]), st.integers(0, 400))),
    st.booleans(),
    st.sampled_from([0, 100, 32_767]),
)
@settings(max_examples=60, deadline=None)
def test_no_nonce_is_ever_used_for_two_packets(steps: list[tuple[str, int]], rtx: bool, first: int) -> None:
    async def run() -> list[bytes]:
        fan, _ = fanout()
        stream, transport, port = viewer(ManualClock(), rtx=rtx, first_sequence=first)
        fan.add(stream)
        for number, (name, value) in enumerate(steps):
            match name:
                case "key" | "delta":
                    fan.push(unit(number, key=name == "key", size=1 + 20 * value))
                case "nack":
                    lost = [(first + value + step) & 0xFFFF for step in range(3)]
                    fan.feedback(stream, [RtcpRtpfbPacket(fmt=1, ssrc=5, media_ssrc=SSRC, lost=lost)])
                case "wait":
                    stream.wait_for_key_frame()
                case _:
                    transport.route = None if value % 2 else Route(0, ("192.0.2.1", 1))
            await settle()
        fan.close()
        port.received()
        return port.datagrams

    used: dict[tuple[int, int], bytes] = {}
    for datagram in asyncio.run(run()):
        _, _, sequence, _, ssrc = struct.unpack("!BBHII", datagram[:12])
        assert used.setdefault((ssrc, sequence), datagram) == datagram
