"""The state of one SSRC of a publisher: its packets, its pictures, and what is reported of it."""

from dataclasses import dataclass

from aiortc.rtp import RtcpReceiverInfo

from genlock_core.media import VIDEO_CLOCK_HZ
from genlock_gateway.rtc.ingest.depacketise import Depacketiser
from genlock_gateway.rtc.ingest.jitter import FrameAssembler, NackSchedule
from genlock_gateway.rtc.ingest.reception import ReceptionStatistics
from genlock_gateway.rtc.sdp.video_format import VideoFormat


@dataclass(slots=True)
class SenderReports:
    """The last SR of the publisher, for the LSR and DLSR fields of our reports (RFC 3550 section 6.4.1)."""

    middle_ntp: int = 0
    arrival_s: float = 0.0

    def came(self, ntp_timestamp: int, now_s: float) -> None:
        self.middle_ntp = (ntp_timestamp >> 16) & 0xFFFFFFFF
        self.arrival_s = now_s

    def delay(self, now_s: float) -> int:
        return min(0xFFFFFFFF, int((now_s - self.arrival_s) * 65536)) if self.middle_ntp else 0


class RtpSource:
    """From its first packet to the last: it is never used for another SSRC."""

    def __init__(self, ssrc: int, video: VideoFormat) -> None:
        self.ssrc = ssrc
        self.rid = ""
        """What its packets call it (RFC 8852); empty without a name."""
        self.depacketiser = Depacketiser(video.codec, sprop_parameter_sets=video.sprop_parameter_sets)
        self.assembler = FrameAssembler(shape_of=self.depacketiser.shape_of)
        self.nack = NackSchedule()
        self.statistics = ReceptionStatistics(VIDEO_CLOCK_HZ)
        self.reports = SenderReports()

    def report(self, now_s: float) -> RtcpReceiverInfo:
        """What has arrived since the last report."""
        return RtcpReceiverInfo(
            ssrc=self.ssrc,
            fraction_lost=self.statistics.take_fraction_lost(),
            packets_lost=self.statistics.packets_lost,
            highest_sequence=self.statistics.highest_sequence,
            jitter=self.statistics.jitter,
            lsr=self.reports.middle_ntp,
            dlsr=self.reports.delay(now_s),
        )
