"""What each frame of a link that is connected means: who may say it and when, and which event it becomes."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from genlock_core.errors import LinkProtocolError
from genlock_core.link import messages
from genlock_core.link.channels import Channel, Channels
from genlock_core.link.events import (
    ChannelClosed,
    ChannelOpened,
    ChannelRefused,
    CodecsWanted,
    ControlNudged,
    Event,
    HandedOver,
    KeyFrameWanted,
    MediaReceived,
    OpenRequested,
    PictureReceived,
    SourceChanged,
    StatsReceived,
    SubscriptionRenewed,
    SubscriptionRequested,
)
from genlock_core.link.frames import Flag, FrameType, LinkFrame, Track
from genlock_core.link.handshake import SUBSCRIPTIONS_SINCE
from genlock_core.link.messages import LinkRole
from genlock_core.media import AccessUnit, Codec, SourcePosition, StillPicture
from genlock_core.slo.stages import StageTimes
from genlock_core.subscriptions.preview import MAX_PREVIEW_BYTES

_FROM_GATEWAY = frozenset(
    {FrameType.OPEN, FrameType.CODECS, FrameType.CONTROL, FrameType.SOURCE, FrameType.SUBSCRIBE, FrameType.RENEW}
)
_FROM_WORKER = frozenset({FrameType.OPENED, FrameType.REFUSED, FrameType.STATS, FrameType.HANDOVER, FrameType.PICTURE})
_FROM_BOTH = frozenset({FrameType.CLOSE, FrameType.MEDIA, FrameType.KEY_FRAME})
_ANSWERS = frozenset({FrameType.OPENED, FrameType.REFUSED})
_OF_PICTURES = frozenset({FrameType.RENEW, FrameType.PICTURE})
"""All that is said on a channel of pictures while it is open, and nowhere else."""
_SINCE_SUBSCRIPTIONS = _OF_PICTURES | {FrameType.SUBSCRIBE}
"""What a peer of an older minor version does not say."""


class Reception:
    """Turns the peer's channel frames into events. It owns two counts and nothing else; the channels are shared."""

    def __init__(self, role: LinkRole, channels: Channels) -> None:
        self.stale_frames = 0
        self.crossed_frames = 0
        self.minor = 0
        """The minor version that both sides speak."""
        self._channels = channels
        self._allowed = _FROM_BOTH | (_FROM_WORKER if role is LinkRole.GATEWAY else _FROM_GATEWAY)
        self._their_track = Track.OUTPUT if role is LinkRole.GATEWAY else Track.SOURCE
        self._readers: Mapping[FrameType, Callable[[LinkFrame, Channel], Event]] = MappingProxyType(
            {
                FrameType.MEDIA: self._media,
                FrameType.KEY_FRAME: _key_frame,
                FrameType.CODECS: _codecs,
                FrameType.CONTROL: _control,
                FrameType.SOURCE: _source,
                FrameType.STATS: _stats,
                FrameType.HANDOVER: _handover,
                FrameType.RENEW: _renew,
                FrameType.PICTURE: _picture,
            }
        )

    def take(self, frame: LinkFrame) -> list[Event]:
        """The events of one frame, none if it was dropped. Raises LinkProtocolError."""
        # Who may say this at all, and from which minor version on?
        too_early = frame.type in _SINCE_SUBSCRIPTIONS and self.minor < SUBSCRIPTIONS_SINCE
        if frame.type not in self._allowed or too_early:
            raise LinkProtocolError(f"{frame.type.name} is not for this side of the link to hear, or not now")

        # Frames that make a channel.
        if frame.type is FrameType.OPEN:
            request = messages.parse(messages.Open, frame.payload)
            self._channels.add(frame.channel, request.session, request.epoch)
            return [OpenRequested(frame.channel, request)]
        if frame.type is FrameType.SUBSCRIBE:
            subscription = messages.parse(messages.Subscribe, frame.payload)
            self._channels.add(frame.channel, subscription.session, subscription.epoch, of_pictures=True)
            return [SubscriptionRequested(frame.channel, subscription)]

        # A frame on a channel that has ended crossed with its CLOSE; on one that never was, `find` raises.
        channel = self._channels.find(frame.channel)
        if channel is None:
            self.crossed_frames += 1
            return []

        if frame.type is FrameType.CLOSE:
            return [self._close(frame, channel)]
        if frame.type in _ANSWERS:
            return [self._answer(frame, channel)]

        # Everything else needs a channel that is open, of the right kind, and in this epoch.
        if not channel.is_open:
            raise LinkProtocolError(f"{frame.type.name} came on channel {frame.channel} before it was open")
        if (frame.type in _OF_PICTURES) is not channel.of_pictures:
            kind = "pictures" if channel.of_pictures else "media"
            raise LinkProtocolError(f"{frame.type.name} came on channel {frame.channel}, which is for {kind}")
        if frame.epoch != channel.epoch:
            self.stale_frames += 1
            return []
        return [self._readers[frame.type](frame, channel)]

    def _close(self, frame: LinkFrame, channel: Channel) -> ChannelClosed:
        close = messages.parse(messages.Close, frame.payload)
        self._channels.remove(channel.number)
        return ChannelClosed(channel.number, channel.session, close.reason)

    def _answer(self, frame: LinkFrame, channel: Channel) -> ChannelOpened | ChannelRefused:
        if channel.is_open:
            raise LinkProtocolError(f"{frame.type.name} came on channel {channel.number}, which is open already")
        if frame.type is FrameType.REFUSED:
            refused = messages.parse(messages.Refused, frame.payload)
            self._channels.remove(channel.number)
            return ChannelRefused(channel.number, channel.session, refused.reason, refused.message, refused.epoch)

        # A worker may open the channel in a newer epoch than it was asked for, never in an older one.
        opened = messages.parse(messages.Opened, frame.payload)
        if opened.session != channel.session or opened.epoch < channel.epoch:
            raise LinkProtocolError(
                f"channel {channel.number} was asked for {channel.session} in epoch {channel.epoch}, "
                f"opened for {opened.session} in {opened.epoch}"
            )
        channel.epoch = opened.epoch
        channel.is_open = True
        return ChannelOpened(channel.number, channel.session, channel.epoch, opened.restore_ms)

    def _media(self, frame: LinkFrame, channel: Channel) -> MediaReceived:
        if frame.track is not self._their_track:
            raise LinkProtocolError(f"media of track {frame.track.name} came the wrong way")
        if not frame.payload:
            raise LinkProtocolError("an access unit without a byte came")
        try:
            stages, _ = StageTimes.decode(frame.stages)
        except ValueError as error:
            raise LinkProtocolError(f"stage times: {error}") from None
        return MediaReceived(
            channel.number,
            channel.session,
            channel.epoch,
            AccessUnit(_codec(frame), frame.payload, bool(frame.flags & Flag.KEY), frame.capture_us),
            run=frame.run,
            sequence=frame.sequence,
            replay=bool(frame.flags & Flag.REPLAY),
            late=bool(frame.flags & Flag.LATE),
            stages=stages,
        )


def _codec(frame: LinkFrame) -> Codec:
    try:
        return Codec(frame.codec)
    except ValueError:
        raise LinkProtocolError(f"unknown codec {frame.codec}") from None


def _key_frame(frame: LinkFrame, channel: Channel) -> KeyFrameWanted:
    is_placed = (frame.run, frame.capture_us) != (0, 0)
    after = SourcePosition(frame.run, frame.capture_us) if is_placed else None
    return KeyFrameWanted(channel.number, channel.session, _codec(frame), after)


def _codecs(frame: LinkFrame, channel: Channel) -> CodecsWanted:
    names = messages.parse_value(messages.CodecNames, frame.payload, "CODECS")
    return CodecsWanted(channel.number, channel.session, messages.codecs_of(names))


def _control(_: LinkFrame, channel: Channel) -> ControlNudged:
    return ControlNudged(channel.number, channel.session)


def _source(frame: LinkFrame, channel: Channel) -> SourceChanged:
    state = messages.parse(messages.SourceState, frame.payload)
    return SourceChanged(channel.number, channel.session, state.present, state.run)


def _stats(frame: LinkFrame, channel: Channel) -> StatsReceived:
    return StatsReceived(channel.number, channel.session, messages.parse_value(messages.Report, frame.payload, "STATS"))


def _picture(frame: LinkFrame, channel: Channel) -> PictureReceived:
    if not 0 < len(frame.payload) <= MAX_PREVIEW_BYTES:
        raise LinkProtocolError(f"a picture of {len(frame.payload)} bytes came, {MAX_PREVIEW_BYTES} are the most")
    picture = StillPicture(frame.payload, SourcePosition(frame.run, frame.capture_us))
    return PictureReceived(channel.number, channel.session, channel.epoch, picture)


def _renew(frame: LinkFrame, channel: Channel) -> SubscriptionRenewed:
    renewal = messages.parse(messages.Renew, frame.payload)
    return SubscriptionRenewed(channel.number, channel.session, renewal.ttl_ms / 1_000)


def _handover(frame: LinkFrame, channel: Channel) -> HandedOver:
    handover = messages.parse(messages.Handover, frame.payload)
    return HandedOver(channel.number, channel.session, handover.epoch, handover.address)
