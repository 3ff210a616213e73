"""A session and a gateway's link as a preview sees them, held still by hand."""

from dataclasses import dataclass, field

import numpy as np

from genlock_core.link.messages import RefusalReason
from genlock_core.media import SourcePosition, StillPicture
from genlock_core.subscriptions.preview import preview_of
from genlock_worker.intake.picture import Picture

SESSION = "default/demo"
PREVIEW = preview_of(SESSION, epoch=3, subscriber="g0")


def picture(value: int = 0) -> Picture:
    return np.full((96, 128, 3), value, np.uint8)


@dataclass(frozen=True)
class Shown:
    picture: Picture
    position: SourcePosition


@dataclass(eq=False)
class FakeSession:
    """`show` the next picture, or set `is_owned` to False: it has left."""

    name: str = SESSION
    epoch: int = 3
    is_owned: bool = True
    shown: Shown | None = None

    def show(self, number: int) -> None:
        self.shown = Shown(picture(number), SourcePosition(1, number))


@dataclass(eq=False)
class FakeLink:
    """Writes down what was said."""

    sent: list[tuple[int, StillPicture]] = field(default_factory=list)
    closed: dict[int, str] = field(default_factory=dict)
    accepted: list[int] = field(default_factory=list)
    refused: list[tuple[RefusalReason, int]] = field(default_factory=list)
    is_up: bool = True

    def accept(self, channel: int, epoch: int) -> bool:
        self.accepted.append(channel)
        return self.is_up

    def refuse(self, channel: int, reason: RefusalReason, message: str = "", *, epoch: int = 0) -> bool:
        self.refused.append((reason, epoch))
        return self.is_up

    def send_picture(self, channel: int, picture: StillPicture) -> bool:
        self.sent.append((channel, picture))
        return self.is_up

    def close_channel(self, channel: int, reason: str = "") -> bool:
        self.closed[channel] = reason
        return self.is_up

    def numbers(self, channel: int) -> list[int]:
        """Which pictures came on a channel."""
        return [still.position.capture_us for to, still in self.sent if to == channel]
