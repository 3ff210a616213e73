"""One door for every action: only the leader goes through it, and each passing is counted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from genlock_core.errors import GenlockError
from genlock_operator.actions import LookAgain, PoolAction, SessionAction
from genlock_operator.reconcile.cluster_actions import ClusterAction, ClusterActions
from genlock_operator.reconcile.stream_actions import StreamAction, StreamActions

RealAction: TypeAlias = ClusterAction | StreamAction


class NotLeading(GenlockError):
    """This replica does not hold the lease; nothing was done."""

    def __init__(self) -> None:
        super().__init__("this replica does not lead")


@dataclass(slots=True)
class Hands:
    """Carries out what the plans ask for. `may_act`: whether we hold the lease, asked before every single action."""

    stream: StreamActions
    cluster: ClusterActions
    may_act: Callable[[], bool]
    done: Callable[[RealAction, str], None] = lambda _action, _refusal: None
    """Told of every action that was carried out, and why it found no room."""

    async def perform(self, action: SessionAction | PoolAction) -> str:
        """Do it; why a claim or move found no room, else "". Raises NotLeading, KubeError, RedisError."""
        if isinstance(action, LookAgain):
            raise TypeError("looking again is the queue's")
        if not self.may_act():
            raise NotLeading
        refusal = ""
        if isinstance(action, StreamAction):
            refusal = await self.stream.perform(action)
        else:
            await self.cluster.perform(action)
        self.done(action, refusal)
        return refusal
