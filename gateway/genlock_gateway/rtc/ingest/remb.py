"""How fast a publisher may send: REMB messages (draft-alvestrand-rmcat-remb-03) and the ceiling that they carry.

Without them Chromium keeps its first rate.
"""

from aiortc.rate import BandwidthUsage, RemoteBitrateEstimator
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, RtpPacket, pack_remb_fci

START_BPS = 2_500_000
MIN_BPS = 150_000
MAX_BPS = 4_000_000
"""More is of no use: the model works at 832x480."""
GROWTH_PER_S = 1.08


class RateCeiling:
    """Falls to what the path was measured to carry when its queues grow, and rises by 8 % a second otherwise.

    An estimate that follows what arrives, as the usual receiver-side estimators give, would hold a publisher of simple
    pictures at its low rate when the pictures become difficult; here only a growing queue lowers the ceiling.
    """

    def __init__(self) -> None:
        self._bps = float(START_BPS)
        self._updated_s: float | None = None

    def update(self, *, congested: bool, estimate_bps: int, now_s: float) -> int:
        """The new ceiling in bit/s. `estimate_bps` counts only when the path is `congested`."""
        elapsed = 0.0 if self._updated_s is None else max(0.0, now_s - self._updated_s)
        self._updated_s = now_s
        wanted = min(float(estimate_bps), self._bps) if congested else self._bps * GROWTH_PER_S ** min(elapsed, 10.0)
        self._bps = min(float(MAX_BPS), max(float(MIN_BPS), wanted))
        return int(self._bps)


class ReceiverEstimate:
    """Receiver-side bandwidth estimate of one publisher. `ssrc` is the gateway's own."""

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
