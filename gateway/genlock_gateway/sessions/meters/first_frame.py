"""Where the time to the first frame goes: its legs, from a publisher's offer to the first picture that viewers get.

Pure bookkeeping of the moments that `SessionStats` is told of. The time to first frame is the legs from `OPEN` on: what
is before them ends when the publisher's first picture is whole at this gateway.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from genlock_core.slo.stages import Leg, StageTimes, latency_budget


class FirstFrameLeg(StrEnum):
    """A part of the way to the first frame, named for what it is spent on; in their order."""

    ANSWER = "answer"  # the offer came, until it was answered
    CONNECT = "connect"  # until ICE and DTLS were up
    SLOT = "slot"  # until Redis had written down who publishes
    CAMERA = "camera"  # until the publisher's first picture was whole here
    OPEN = "open"  # until a worker served the session, where that took longer than all before
    CHUNK = "chunk"  # until the first chunk could begin: the camera's own two periods, decoding, the links to and fro
    QUEUE = "queue"  # until the engine took it
    ENGINE = "engine"  # until its last row was done
    PACE = "pace"  # until its first picture was due
    ENCODE = "encode"  # until that was encoded and sent


_WORKERS_OWN: Final = {
    FirstFrameLeg.QUEUE: (Leg.QUEUE,),
    FirstFrameLeg.ENGINE: (Leg.ENGINE,),
    FirstFrameLeg.PACE: (Leg.PACE,),
    FirstFrameLeg.ENCODE: (Leg.ENCODE, Leg.SEND),
}
"""Durations that the worker writes into the frame; its clock is not this gateway's."""


@dataclass(slots=True)
class Setup:
    """How a publisher's peer came to be connected; filled in as it goes on."""

    answer_s: float = 0.0
    """Its offer, until that was answered."""

    connect_s: float = 0.0
    """From there until ICE and DTLS were up."""

    connected_s: float = 0.0
    """When that was, on the gateway's monotonic clock."""


@dataclass(frozen=True, slots=True)
class FirstFrame:
    """The moments of one publication up to its first picture here; seconds of the gateway's monotonic clock."""

    setup: Setup
    published_s: float
    first_in_s: float
    opened_s: float
    """When a worker began to serve the session; long ago for one that served before."""

    def legs_s(self, stages: StageTimes, shown_s: float) -> Mapping[FirstFrameLeg, float]:
        """How long each leg took, of the frame with these stages that is shown now; none is negative."""
        connected_s = min(self.setup.connected_s, self.published_s)
        legs = {
            FirstFrameLeg.ANSWER: self.setup.answer_s,
            FirstFrameLeg.CONNECT: self.setup.connect_s,
            FirstFrameLeg.SLOT: self.published_s - connected_s,
            FirstFrameLeg.CAMERA: max(0.0, self.first_in_s - self.published_s),
        }
        waited_s = max(0.0, shown_s - self.first_in_s)
        legs[FirstFrameLeg.OPEN] = min(waited_s, max(0.0, self.opened_s - self.first_in_s))

        # What the worker does not tell of is the rest of what was waited here.
        budget = latency_budget(stages)
        told = {leg: sum(budget.get(part, 0) for part in parts) / 1e6 for leg, parts in _WORKERS_OWN.items()}
        legs[FirstFrameLeg.CHUNK] = max(0.0, waited_s - legs[FirstFrameLeg.OPEN] - sum(told.values()))
        return legs | told
