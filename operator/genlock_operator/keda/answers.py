"""What KEDA is answered about a pool. Pure.

KEDA hands the metric to an HPA, which takes value / target for the number of workers, rounded up. The value is the
number that this operator recommends and the target is 1, so the HPA has nothing to work out.
"""

from enum import StrEnum
from typing import Final

from genlock_core.levelling.scaling import ScalingTold
from genlock_core.spec.autoscaling import ScalingMode
from genlock_operator.keda.wire import ScaledObject

METRIC: Final = "workers"
TARGET: Final = 1
"""One worker is one replica."""
POOL_FIELD: Final = "pool"
"""In a trigger's `metadata`: the name of the pool, which lies in the ScaledObject's own namespace."""


class NoAnswerReason(StrEnum):
    """Why there is no answer."""

    NO_POOL = "NoPool"  # the trigger names none
    UNKNOWN = "Unknown"  # nobody tells of such a pool: none is there, or nobody leads
    NOT_EXTERNAL = "NotExternal"  # its number of workers is not for others to set


class NoAnswer(Exception):
    """KEDA gets an error instead, and keeps the number of workers as it is."""

    def __init__(self, why: NoAnswerReason, message: str) -> None:
        super().__init__(message)
        self.why = why
        self.message = message


def pool_of(asking: ScaledObject) -> str:
    """NAMESPACE/NAME of the pool that it is about. Raises NoAnswer."""
    pool = asking.metadata.get(POOL_FIELD, "")
    if not pool or "/" in pool or not asking.namespace:
        raise NoAnswer(
            NoAnswerReason.NO_POOL,
            f"metadata.{POOL_FIELD} of the trigger must be the name of a WorkerPool in the ScaledObject's namespace",
        )
    return f"{asking.namespace}/{pool}"


def workers(pool: str, told: ScalingTold | None) -> int:
    """How many workers the pool should have. Raises NoAnswer.

    Only a pool of the mode External has an answer: with the others `replicas` is a floor of what is recommended, so who
    follows the recommendation with it would never come down again.
    """
    if told is None:
        raise NoAnswer(NoAnswerReason.UNKNOWN, f"nobody has told of a pool {pool} within the last half minute")
    if told.mode != ScalingMode.EXTERNAL:
        raise NoAnswer(
            NoAnswerReason.NOT_EXTERNAL,
            f"spec.autoscaling.mode of the pool {pool} is {told.mode}; set it to {ScalingMode.EXTERNAL}",
        )
    return told.desired
