"""The channels of one link: which session each carries, in which epoch, and how far it got.

A channel is OPENING (OPEN or SUBSCRIBE was said) -> OPEN (OPENED was said) -> gone (REFUSED, CLOSE, or the link is
down). Numbers grow and are never used twice. So a number that is not above the highest, and is not there, is that of a
channel that has ended.
"""

from dataclasses import dataclass, field

from genlock_core.errors import LinkProtocolError

MAX_CHANNELS = 1_024
"""Channels of one link at a time."""
MAX_NUMBER = 2**32 - 1


@dataclass(slots=True)
class Channel:
    """A session on this link. `sequences` counts this side's access units per codec."""

    number: int
    session: str
    epoch: int
    of_pictures: bool = False
    """SUBSCRIBE asked for it: pictures go there and no media. On the others media goes and no picture."""
    is_open: bool = False
    sequences: dict[int, int] = field(default_factory=dict)

    def next_sequence(self, codec: int) -> int:
        sequence = self.sequences.get(codec, 0)
        self.sequences[codec] = (sequence + 1) % 2**32
        return sequence


class Channels:
    """The bookkeeping of one link. The gateway calls `create`, the worker `add`."""

    def __init__(self) -> None:
        self._channels: dict[int, Channel] = {}
        self._highest = 0

    def __len__(self) -> int:
        return len(self._channels)

    def create(self, session: str, epoch: int, *, of_pictures: bool = False) -> Channel:
        """The gateway's next channel. Raises ValueError if there are too many."""
        if len(self) >= MAX_CHANNELS or self._highest >= MAX_NUMBER:
            raise ValueError(f"this link has {len(self)} channels open and cannot have more")
        return self._put(self._highest + 1, session, epoch, of_pictures=of_pictures)

    def add(self, number: int, session: str, epoch: int, *, of_pictures: bool = False) -> Channel:
        """A channel that the gateway opened. Raises LinkProtocolError if its number was used or there are too many."""
        if number <= self._highest:
            raise LinkProtocolError(f"channel {number} was opened twice")
        if len(self) >= MAX_CHANNELS:
            raise LinkProtocolError(f"the gateway opened more than {MAX_CHANNELS} channels")
        return self._put(number, session, epoch, of_pictures=of_pictures)

    def _put(self, number: int, session: str, epoch: int, *, of_pictures: bool) -> Channel:
        self._highest = number
        self._channels[number] = Channel(number, session, epoch, of_pictures)
        return self._channels[number]

    def find(self, number: int) -> Channel | None:
        """The channel, or None if it has ended. Raises LinkProtocolError if it never was."""
        if not 0 < number <= self._highest:
            raise LinkProtocolError(f"a frame came on channel {number}, which was never opened")
        return self._channels.get(number)

    def get(self, number: int) -> Channel | None:
        return self._channels.get(number)

    def opened(self, number: int) -> Channel | None:
        """The channel if it is open."""
        channel = self._channels.get(number)
        return channel if channel is not None and channel.is_open else None

    def remove(self, number: int) -> None:
        self._channels.pop(number, None)

    def clear(self) -> None:
        self._channels.clear()
