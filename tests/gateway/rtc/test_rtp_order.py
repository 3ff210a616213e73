"""The checker of the RTP order lets the network be what it is, and finds each mistake of a sender."""

import pytest
from aiortc.rtp import RtpPacket, wrap_rtx

from tests.gateway.rtc.rtp_order import mistakes

SSRC = 10
RTX_SSRC = 11


def packet(sequence: int, timestamp: int, *, ssrc: int = SSRC) -> RtpPacket:
    return RtpPacket(
        payload_type=96, sequence_number=sequence & 0xFFFF, timestamp=timestamp, ssrc=ssrc, payload=b"picture"
    )


def stream(count: int = 6, *, first: int = 65_533) -> list[RtpPacket]:
    """Two packets for each picture; the numbers wrap, and so do the timestamps."""
    return [packet(first + index, (0xFFFFFFFF - 5_000 + index // 2 * 3_000) & 0xFFFFFFFF) for index in range(count)]


def retransmission(original: RtpPacket) -> RtpPacket:
    return wrap_rtx(original, payload_type=97, sequence_number=5, ssrc=RTX_SSRC)


def test_a_stream_that_goes_on_has_no_mistakes() -> None:
    assert mistakes(stream(), rtx_ssrc=RTX_SSRC) == []


def test_retransmissions_are_not_the_stream_whether_they_come_by_rtx_or_as_the_same_packet_again() -> None:
    packets = stream()
    assert mistakes([*packets, retransmission(packets[1])], rtx_ssrc=RTX_SSRC) == []
    assert mistakes([*packets, packets[1]], rtx_ssrc=RTX_SSRC) == []


def test_a_packet_that_the_network_lost_is_repaired_by_its_retransmission() -> None:
    packets = stream()
    lost = packets.pop(2)
    assert mistakes(packets, rtx_ssrc=RTX_SSRC) == ["1 numbers never came"]
    assert mistakes([*packets, retransmission(lost)], rtx_ssrc=RTX_SSRC) == []


def test_a_packet_that_the_network_delays_is_no_mistake() -> None:
    packets = stream()
    packets.append(packets.pop(1))
    assert mistakes(packets, rtx_ssrc=RTX_SSRC) == []


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        ([*stream(4), packet(65_533 + 4, stream()[0].timestamp)], "the timestamp goes back by 3000 at number 65537"),
        ([*stream(4), packet(65_533 + 9, 9_000)], "5 numbers never came"),
        ([*stream(4), packet(65_533 + 3, 9_000)], "number 65536 came for two pictures"),
        ([*stream(4), packet(65_533 + 4, 9_000, ssrc=12)], "one stream has one SSRC, this one has 2"),
    ],
)
def test_each_mistake_of_a_sender_is_found(wrong: list[RtpPacket], mistake: str) -> None:
    assert mistakes(wrong, rtx_ssrc=RTX_SSRC) == [mistake]
