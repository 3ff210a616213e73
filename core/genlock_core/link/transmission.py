"""What this side says on its channels, as frames in the outbox. What the peer says there is read by `reception`."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from types import MappingProxyType

from pydantic import JsonValue

from genlock_core.link import messages
from genlock_core.link.channels import Channel, Channels
from genlock_core.link.frames import Flag, FrameType, LinkFrame, Track
from genlock_core.link.handshake import SINK_DIGESTS_SINCE, TROUBLE_SINCE
from genlock_core.link.messages import LinkRole, RefusalReason
from genlock_core.link.outbox import LinkOverflow, Outbox
from genlock_core.media import AccessUnit, Codec, SourcePosition, StillPicture
from genlock_core.slo.stages import StageTimes

_NO_STAGES = StageTimes()
_REPORTED_SINCE: Mapping[str, int] = MappingProxyType({"sinkDigests": SINK_DIGESTS_SINCE, "trouble": TROUBLE_SINCE})
"""Fields of a report, and the minor version that brought each."""


class Transmission(ABC):
    """The speaking half of a `LinkProtocol`. Nothing here blocks, and nothing fails for want of room.

    An outbox that is full of control frames is noted in `_overflow`, and ends the link at its next tick.
    """

    def __init__(self, role: LinkRole, channels: Channels, outbox: Outbox) -> None:
        self._role = role
        self._channels = channels
        self._outbox = outbox
        self._overflow: LinkOverflow | None = None

    @property
    @abstractmethod
    def minor(self) -> int:
        """The minor version that both sides speak, 0 before the handshake is done."""

    def accept(self, number: int, epoch: int, *, restore_ms: int | None = None) -> bool:
        """Worker: serve the channel in `epoch`, which took `restore_ms` to take over.

        Raises ValueError for an epoch older than the one asked for.
        """
        channel = self._channels.get(number)
        if channel is None or channel.is_open or self._role is not LinkRole.WORKER:
            return False
        if epoch < channel.epoch:
            raise ValueError(f"{channel.session}: epoch {epoch} cannot serve a channel of epoch {channel.epoch}")
        channel.epoch = epoch
        channel.is_open = True
        opened = messages.Opened(session=channel.session, epoch=epoch, restore_ms=restore_ms)
        self._say(FrameType.OPENED, channel, opened.to_json())
        return True

    def refuse(self, number: int, reason: RefusalReason, message: str = "", *, epoch: int = 0) -> bool:
        """Worker: do not serve the channel; `epoch` is the one that this worker knows of."""
        channel = self._channels.get(number)
        if channel is None or channel.is_open or self._role is not LinkRole.WORKER:
            return False
        refusal = messages.Refused(reason=reason, message=message[:1_000], epoch=epoch)
        self._say(FrameType.REFUSED, channel, refusal.to_json())
        self._channels.remove(number)
        return True

    def close_channel(self, number: int, reason: str = "") -> bool:
        """End a channel from either side; media that waits for it is dropped."""
        channel = self._channels.get(number)
        if channel is None:
            return False
        self._channels.remove(number)
        self._outbox.forget(number)
        self._say(FrameType.CLOSE, channel, messages.Close(reason=reason[:1_000]).to_json())
        return True

    # What is said on an open channel. Each returns False, and says nothing, if the channel is not open.

    def send_media(
        self,
        number: int,
        unit: AccessUnit,
        *,
        run: int,
        replay: bool = False,
        late: bool = False,
        stages: StageTimes = _NO_STAGES,
    ) -> bool:
        """One access unit, in the order of the calls per codec, or dropped (see `on_drop`)."""
        channel = self._channels.opened(number)
        if channel is None:
            return False
        flags = (Flag.KEY if unit.key_frame else 0) | (Flag.REPLAY if replay else 0) | (Flag.LATE if late else 0)
        self._outbox.push_media(
            LinkFrame(
                FrameType.MEDIA,
                flags=flags,
                track=Track.SOURCE if self._role is LinkRole.GATEWAY else Track.OUTPUT,
                codec=unit.codec,
                channel=number,
                epoch=channel.epoch,
                run=run,
                sequence=channel.next_sequence(unit.codec),
                capture_us=unit.capture_us,
                stages=stages.encode(),
                payload=unit.data,
            )
        )
        return True

    def request_key_frame(self, number: int, codec: Codec, *, after: SourcePosition | None = None) -> bool:
        """Ask the peer for an IDR of what it sends in `codec`; requests that wait are one.

        `after`: the IDR is to be the first picture after this place, and what stands before it need not come.
        """
        return self._tell(number, FrameType.KEY_FRAME, codec=codec, at=after, replaces=codec)

    def send_codecs(self, number: int, codecs: frozenset[Codec]) -> bool:
        payload = messages.CodecNames.dump_json(messages.names_of(codecs))
        return self._tell(number, FrameType.CODECS, payload, replaces=0)

    def nudge_control(self, number: int) -> bool:
        return self._tell(number, FrameType.CONTROL, replaces=0)

    def send_source(self, number: int, *, present: bool, run: int) -> bool:
        return self._tell(number, FrameType.SOURCE, messages.SourceState(present=present, run=run).to_json())

    def send_stats(self, number: int, report: Mapping[str, JsonValue]) -> bool:
        """Of the report what the peer has a word for. Raises LinkProtocolError if it is over MAX_JSON_BYTES."""
        known = {name: value for name, value in report.items() if _REPORTED_SINCE.get(name, 0) <= self.minor}
        payload = messages.Report.dump_json(known)
        messages.check_json_length(payload)
        return self._tell(number, FrameType.STATS, payload, replaces=0)

    def send_handover(self, number: int, *, epoch: int, address: str) -> bool:
        payload = messages.Handover(epoch=epoch, address=address).to_json()
        return self._tell(number, FrameType.HANDOVER, payload)

    def renew(self, number: int, *, ttl_s: float) -> bool:
        """Gateway: it still wants the pictures of this channel, for so long."""
        return self._tell(number, FrameType.RENEW, messages.Renew(ttl_ms=round(ttl_s * 1_000)).to_json(), replaces=0)

    def send_picture(self, number: int, picture: StillPicture) -> bool:
        """Worker: a picture to a subscriber. It waits for everything else, and a newer one takes its place."""
        channel = self._channels.opened(number)
        if channel is None:
            return False
        self._outbox.push_picture(
            LinkFrame(
                FrameType.PICTURE,
                channel=number,
                epoch=channel.epoch,
                run=picture.position.run,
                capture_us=picture.position.capture_us,
                payload=picture.jpeg,
            )
        )
        return True

    def _tell(
        self,
        number: int,
        kind: FrameType,
        payload: bytes = b"",
        *,
        codec: int = 0,
        at: SourcePosition | None = None,
        replaces: int | None = None,
    ) -> bool:
        channel = self._channels.opened(number)
        if channel is None:
            return False
        self._say(kind, channel, payload, codec=codec, at=at, replaces=replaces)
        return True

    def _say(
        self,
        kind: FrameType,
        channel: Channel,
        payload: bytes,
        *,
        codec: int = 0,
        at: SourcePosition | None = None,
        replaces: int | None = None,
    ) -> None:
        frame = LinkFrame(
            kind,
            codec=codec,
            channel=channel.number,
            epoch=channel.epoch,
            run=0 if at is None else at.run,
            capture_us=0 if at is None else at.capture_us,
            payload=payload,
        )
        place: Hashable = None if replaces is None else (kind, channel.number, replaces)
        try:
            self._outbox.push_control(frame, replaces=place)
        except LinkOverflow as overflow:
            # The caller that sends is not to blame. `tick` raises it, where somebody looks after the connection.
            self._overflow = overflow
