"""One publication, from its RTP packets to the pictures that a worker decodes, without network and without waiting."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

from aiortc.rtp import RtpPacket

from genlock_core.bounds import OBJECT_BYTES
from genlock_core.clock import ManualClock
from genlock_core.media import AccessUnit, Codec, Trouble
from genlock_gateway.rtc.ingest.receive import IngestPeer
from genlock_gateway.rtc.sdp.video_format import VideoFormat
from genlock_gateway.sessions.recent_pictures import RecentPictures
from genlock_worker.intake.decode import Decoder
from tests.bitstreams.clips import FRAME_RATE, HEIGHT, WIDTH
from tests.bitstreams.rtp import Sent
from tests.gateway.rtc.listeners import Heard
from tests.worker.pattern_numbers import read_index

PAYLOAD_TYPE = 96


class _Transport:
    """Answers nothing: a publisher that heeds neither PLI nor NACK, as a file that is copied out does not."""

    state = "connected"

    def send_rtcp(self, packet: bytes) -> None:
        pass


class Publication:
    """`feed` takes packets; `numbers` are the pictures that came out, in their order, as numbered in them.

    To be made on an event loop. The clock moves by `turn_s` from a picture to the next. `reads`: look at the pictures,
    which takes most of the time; else each counts as number 0.
    """

    def __init__(self, codec: Codec, *, sprop: str = "", turn_s: float = 1 / FRAME_RATE, reads: bool = True) -> None:
        self.clock = ManualClock()
        self.heard = Heard()
        self.recent = RecentPictures()
        self.decoder = Decoder(codec)
        self.numbers: list[int] = []
        self.sizes: set[tuple[int, int]] = set()
        video = VideoFormat(codec, PAYLOAD_TYPE, None, ("nack", "nack pli"), "42e01f", 1, sprop, 0)
        self.peer = IngestPeer(
            transport=cast(Any, _Transport()),
            video=video,
            ssrc=7,
            listener=self.heard,
            sink=self.heard,
            clock=self.clock,
            rtx_ssrcs={},
        )
        self._turn_s = turn_s
        self._reads = reads
        self._turn: int | None = None
        self._taken = 0

    def feed(self, sent: Iterable[Sent]) -> None:
        for packet in sent:
            if packet.turn != self._turn:
                self.next_turn()
                self._turn = packet.turn
            header = (int(packet.marker), packet.sequence & 0xFFFF, packet.timestamp & 0xFFFFFFFF)
            self.peer.rtp(RtpPacket(PAYLOAD_TYPE, *header, ssrc=packet.ssrc, payload=packet.payload), 0)
        self.next_turn()

    def next_turn(self) -> None:
        """Time passes: what waits for something is looked after, as timers would do, and units are decoded."""
        self.clock.advance(self._turn_s)
        for source in tuple(self.peer._sources.values()):
            self.peer._end_frame(source)
        self.peer._repair_again()
        for unit in self.heard.units[self._taken :]:
            self.recent.add(unit)
            self._decode(unit)
        self._taken = len(self.heard.units)

    def successors(self) -> list[int]:
        """What a worker shows that takes over now, from the group of pictures alone."""
        return decoded(self.recent.newest_group)

    @property
    def trouble(self) -> Trouble | None:
        return self.peer.trouble or self.decoder.trouble

    @property
    def held_bytes(self) -> int:
        """What the gateway keeps of the publication, but for the group of pictures, which has bounds of its own."""
        held = 0
        for source in self.peer._sources.values():
            assembler, pictures = source.assembler, source.depacketiser._h264
            packets = [*assembler._packets.values(), *assembler._open.packets, *assembler._last.packets]
            held += sum(packet.cost for packet in packets)
            held += sum(len(nal) + OBJECT_BYTES for nal in (*pictures._front, *pictures._sets.nals))
            held += sum(len(unit.data) + OBJECT_BYTES for unit in source._waiting)
        assert held == self.peer.holdings.held_bytes, "what it says that it holds is what it holds"
        return held

    def close(self) -> None:
        self.peer.closed("the end")

    def _decode(self, unit: AccessUnit) -> None:
        for frame in self.decoder.decode(unit):
            self.sizes.add((frame.width, frame.height))
            picture = frame.fitted(width=WIDTH, height=HEIGHT) if self._reads else None
            self.numbers.append(0 if picture is None else read_index(picture))


def decoded(units: Sequence[AccessUnit]) -> list[int]:
    """The pictures that a fresh decoder makes of them."""
    if not units:
        return []
    decoder = Decoder(units[0].codec)
    frames = [frame for unit in units for frame in decoder.decode(unit)]
    return [read_index(frame.fitted(width=WIDTH, height=HEIGHT)) for frame in frames]
