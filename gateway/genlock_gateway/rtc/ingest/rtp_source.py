"""The state of one SSRC of a publisher: its packets, its pictures, and what is reported of it."""

from dataclasses import dataclass

from aiortc.rtp import RtcpReceiverInfo

from genlock_core.bounds import OBJECT_BYTES, ByteLimit, Holdings
from genlock_core.media import VIDEO_CLOCK_HZ, AccessUnit
from genlock_gateway.rtc.ingest.choice import MAX_CANDIDATES
from genlock_gateway.rtc.ingest.depacketise import Depacketiser
from genlock_gateway.rtc.ingest.jitter import FrameAssembler, NackSchedule
from genlock_gateway.rtc.ingest.reception import ReceptionStatistics
from genlock_gateway.rtc.sdp.video_format import VideoFormat

MAX_WAITING_UNITS = 64
MAX_WAITING_BYTES = 4 * 1024 * 1024
WAITING_LIMIT = ByteLimit(
    "pictures of a stream that perhaps takes the place of the chosen one",
    MAX_WAITING_BYTES,
    each="SSRC of a publisher that is looked at",
    when_full="they are dropped, and kept again from the next key frame on",
    times=MAX_CANDIDATES,
)
"""More than a quarter of a second."""


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

    def __init__(self, ssrc: int, video: VideoFormat, *, holdings: Holdings | None = None) -> None:
        holdings = holdings or Holdings()
        self.ssrc = ssrc
        self.rid = ""
        """What its packets call it (RFC 8852); empty without a name."""
        self.depacketiser = Depacketiser(
            video.codec, sprop_parameter_sets=video.sprop_parameter_sets, holdings=holdings
        )
        self.assembler = FrameAssembler(shape_of=self.depacketiser.shape_of, holdings=holdings)
        self.nack = NackSchedule()
        self.statistics = ReceptionStatistics(VIDEO_CLOCK_HZ)
        self.reports = SenderReports()
        self._waiting: list[AccessUnit] = []
        self._waiting_bytes = holdings.bound(WAITING_LIMIT)

    def wait(self, unit: AccessUnit) -> bool:
        """Keep a unit while another SSRC may still go on. True if a decoder can start with what is kept."""
        if unit.key_frame:
            self.take_waiting()
        elif not self._waiting:
            return False

        fits = len(self._waiting) < MAX_WAITING_UNITS and self._waiting_bytes.take(len(unit.data) + OBJECT_BYTES)
        if fits:
            self._waiting.append(unit)
        else:
            self.take_waiting()
        return bool(self._waiting)

    def take_waiting(self) -> list[AccessUnit]:
        """What is kept, from a key frame on."""
        waiting = self._waiting
        self._waiting = []
        self._waiting_bytes.clear()
        return waiting

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
