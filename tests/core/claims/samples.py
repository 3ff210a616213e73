"""Sessions and workers for the tests of the claims."""

from genlock_core.claims.identity import FormatRange, WorkerIdentity, WorkerOffer
from genlock_core.claims.record import PoolChoice, SessionRecord
from genlock_core.spec.session import Approximation, ApproximationPolicy, SessionKey, StreamSessionSpec, resolve

IDLE_TIMEOUT_MS = 20_000
TTL_S = 5


def record(
    name: str = "demo",
    *pools: tuple[str, int] | PoolChoice,
    idle_timeout_ms: int = IDLE_TIMEOUT_MS,
    uid: str = "",
    steps: int | None = None,
    adaptive: bool = True,
) -> SessionRecord:
    """The record of `default/<name>`, at 400 thousandths in pool `a` unless pools are named; 2 steps unless told."""
    policy = ApproximationPolicy.ADAPTIVE if adaptive else ApproximationPolicy.NEVER
    spec = StreamSessionSpec(
        idle_timeout=f"{idle_timeout_ms}ms",
        ttl_seconds_after_finished=TTL_S,
        steps=steps,
        approximation=Approximation(policy=policy),
    )
    named = pools or (("a", 400),)
    choices = tuple(one if isinstance(one, PoolChoice) else PoolChoice(*one) for one in named)
    return SessionRecord(resolve(SessionKey(name=name), spec), choices, key_ids=("k1",), uid=uid)


def offer(
    name: str,
    pool: str = "a",
    *,
    incarnation: str | None = None,
    formats: tuple[int, int] = (1, 2),
    halves: bool = True,
) -> WorkerOffer:
    """A whole worker called `name`; a fresh incarnation unless one is given."""
    identity = WorkerIdentity(name, incarnation) if incarnation else WorkerIdentity.fresh(name)
    return WorkerOffer(identity, pool, "wan2.1-1.3b", 1_000, f"{name}:7000", FormatRange(*formats), halves=halves)
