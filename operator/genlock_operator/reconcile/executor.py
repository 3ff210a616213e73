"""One door for every action: only the leader goes through it, and each passing is counted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from redis.exceptions import RedisError

from genlock_core.errors import GenlockError
from genlock_operator.actions import LookAgain, PoolAction, SessionAction
from genlock_operator.kube.errors import KubeError
from genlock_operator.reconcile.cluster_actions import ClusterAction, ClusterActions
from genlock_operator.reconcile.outcome import Outcome, Result, of_failure
from genlock_operator.reconcile.stream_actions import StreamAction, StreamActions

RealAction: TypeAlias = ClusterAction | StreamAction


class NotLeading(GenlockError):
    """This replica does not hold the lease; nothing was done."""

    def __init__(self) -> None:
        super().__init__("this replica does not lead")


@dataclass(slots=True)
class Executor:
    """Carries out what the plans ask for. `may_act`: whether we hold the lease, asked before every single action."""

    stream: StreamActions
    cluster: ClusterActions
    may_act: Callable[[], bool]
    done: Callable[[RealAction, Result], None] = lambda _action, _result: None
    """Told what became of every action, those too that raise an error."""

    async def perform(self, action: SessionAction | PoolAction) -> str:
        """Do it; why a claim or move found no room, else "". Raises NotLeading, KubeError, RedisError."""
        if isinstance(action, LookAgain):
            raise TypeError("looking again is the queue's")
        if not self.may_act():
            raise NotLeading
        try:
            if isinstance(action, StreamAction):
                outcome = await self.stream.perform(action)
            else:
                outcome = Outcome(await self.cluster.perform(action))
        except (KubeError, RedisError) as error:
            self.done(action, of_failure(error))
            raise
        self.done(action, outcome.result)
        return outcome.refusal
