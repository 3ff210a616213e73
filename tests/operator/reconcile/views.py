"""Workers and records as Redis tells of them, for tables that are filled by hand."""

from collections.abc import Sequence

from genlock_core.claims.facts import WorkerState, WorkerView
from genlock_core.claims.identity import CAPACITY, FormatRange, WorkerIdentity
from genlock_core.claims.price_list import PoolChoice
from genlock_core.claims.record import SessionRecord
from genlock_core.spec.session import Approximation, SessionKey, StreamSessionSpec, resolve


def view_of(name: str, pool: str) -> WorkerView:
    """A ready worker without sessions."""
    return WorkerView(
        identity=WorkerIdentity(name, "an incarnation"),
        pool=pool,
        model="tiny",
        address=f"{name}:7000",
        state=WorkerState.READY,
        heartbeat_age_ms=0,
        progress=1,
        links={},
        capacity=CAPACITY,
        free=CAPACITY,
        sessions={},
        formats=FormatRange(1, 1),
    )


def record_of(
    name: str, pool: str, *, cost: int, levels: Sequence[int] = (), steps: int = 2, policy: str = "Adaptive"
) -> SessionRecord:
    """A session that a worker serves, which pays so much."""
    spec = StreamSessionSpec(steps=steps, approximation=Approximation.model_validate({"policy": policy}))
    namespace, _, short = name.partition("/")
    return SessionRecord(
        session=resolve(SessionKey(namespace=namespace, name=short), spec),
        pools=(PoolChoice(pool, levels[steps - 1] if levels else cost, tuple(levels)),),
        epoch=1,
        owner=WorkerIdentity("w1", "an incarnation"),
        pool=pool,
        cost=cost,
    )
