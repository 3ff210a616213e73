"""A subscription: who wants which frames of a session, at which rate and size, under which epoch.

A claim says which worker makes the frames of a session; a subscription says who gets them. Both are bound to an epoch.
When the session moves, its subscriber subscribes again under the new epoch, and takes no frame of the old one.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from genlock_core.errors import StaleEpoch
from genlock_core.media import Codec


class FrameKind(StrEnum):
    """Where on its way through the worker a frame is taken."""

    ENCODED = "encoded"
    """The output as viewers get it: access units, in the codecs that the subscription names."""

    GENERATED = "generated"
    """Pictures that the engine made."""

    SOURCE = "source"
    """Pictures that the engine was given."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one subscriber wants of one session. Raises ValueError if the fields do not go together."""

    session: str
    """`namespace/name`."""

    epoch: int
    """Frames of this epoch are for the subscriber, and of no other."""

    subscriber: str
    """Who asks: the name of a gateway."""

    frames: FrameKind

    codecs: frozenset[Codec] = frozenset()
    """The codecs of an ENCODED subscription; it may want none for a while."""

    rate: float | None = None
    """At most so many frames per second; None: every one."""

    long_side: int | None = None
    """Pictures have at most so many pixels on their longer side; None: as they are made."""

    def __post_init__(self) -> None:
        if self.codecs and self.frames is not FrameKind.ENCODED:
            raise ValueError(f"{self.frames} pictures have no codec")
        if self.rate is not None and self.rate <= 0:
            raise ValueError(f"a rate is more than 0 frames per second, not {self.rate:g}")
        if self.long_side is not None and self.long_side <= 0:
            raise ValueError(f"a picture has at least 1 pixel on a side, not {self.long_side}")

    def following(self, epoch: int) -> Self:
        """The same under the session's newer epoch. Raises StaleEpoch for an older one."""
        if epoch < self.epoch:
            raise StaleEpoch(self.session, epoch=epoch, current=self.epoch)
        return replace(self, epoch=epoch)

    def with_codecs(self, codecs: frozenset[Codec]) -> Self:
        """The same for other codecs."""
        return replace(self, codecs=codecs)
