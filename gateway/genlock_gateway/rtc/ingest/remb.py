"""The rate that a publisher is told to keep to: REMB messages (draft-alvestrand-rmcat-remb-03)."""

from aiortc.rate import BandwidthUsage, RemoteBitrateEstimator
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, RtpPacket, pack_remb_fci

from genlock_gateway.rtc.ingest.rate_ceiling import RateCeiling


class ReceiverEstimate:
    """Receiver-side bandwidth estimate; without it Chromium keeps its first rate. `ssrc` is the gateway's own."""

    def __init__(self, ssrc: int) -> None:
        self._ssrc = ssrc
        self._bitrate = RemoteBitrateEstimator()
        self._ceiling = RateCeiling()

    def add(self, packet: RtpPacket, arrival_ms: int, *, now_s: float) -> RtcpPsfbPacket | None:
        """A packet of the publisher; gives the message that is due, None if none is or the packet has no send time."""
        sent_at = packet.extensions.abs_send_time
        if sent_at is None:
            return None
        size = len(packet.payload) + packet.padding_size
        estimate = self._bitrate.add(
            abs_send_time=sent_at, arrival_time_ms=arrival_ms, payload_size=size, ssrc=packet.ssrc
        )
        if estimate is None:
            return None
        congested = self._bitrate.detector.state() is BandwidthUsage.OVERUSING
        ceiling = self._ceiling.update(congested=congested, estimate_bps=estimate[0], now_s=now_s)
        fci = pack_remb_fci(ceiling, estimate[1])
        return RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=self._ssrc, media_ssrc=0, fci=fci)
