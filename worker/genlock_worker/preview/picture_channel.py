"""A subscriber of a preview, as the worker sees it: a channel for pictures on the link to a gateway."""

from dataclasses import dataclass
from typing import Protocol

from genlock_core.link.messages import RefusalReason
from genlock_core.media import StillPicture


class PictureLink(Protocol):
    """What a preview says on a link, a `LinkConnection`. Each gives False where the channel is gone."""

    def accept(self, channel: int, epoch: int) -> bool: ...

    def refuse(self, channel: int, reason: RefusalReason, message: str = "", *, epoch: int = 0) -> bool: ...

    def send_picture(self, channel: int, picture: StillPicture) -> bool: ...

    def close_channel(self, channel: int, reason: str = "") -> bool: ...


@dataclass(frozen=True, slots=True)
class PictureChannel:
    """Two of the same link and number are the same subscriber."""

    link: PictureLink
    number: int

    def accept(self, epoch: int) -> bool:
        """Serve it; False if the gateway has left meanwhile."""
        return self.link.accept(self.number, epoch)

    def refuse(self, reason: RefusalReason, message: str, *, epoch: int) -> None:
        self.link.refuse(self.number, reason, message, epoch=epoch)

    def send(self, picture: StillPicture) -> None:
        self.link.send_picture(self.number, picture)

    def close(self, reason: str) -> None:
        """No picture comes any more."""
        self.link.close_channel(self.number, reason)
