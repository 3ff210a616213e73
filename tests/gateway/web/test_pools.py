"""Which pools the workers make up that a gateway sees."""

from dataclasses import replace

from genlock_core.claims.facts import WorkerState, WorkerView
from genlock_core.claims.identity import CAPACITY, FormatRange, WorkerIdentity
from genlock_core.sizing.candidates import PoolShape
from genlock_gateway.web.api import pools_of

NEW = WorkerView(
    identity=WorkerIdentity("w0", "an incarnation"),
    pool="local",
    model="tiny",
    address="w0:7000",
    state=WorkerState.READY,
    heartbeat_age_ms=0,
    progress=1,
    links={},
    capacity=CAPACITY,
    free=CAPACITY,
    sessions={},
    formats=FormatRange(1, 1),
    gpu_product="CPU",
    gpus=1,
    engine="diffusion",
)
OLD = replace(NEW, identity=WorkerIdentity("w1", "another"), gpus=4, engine="")


def shape(gpus: int, engine: str | None) -> PoolShape:
    assert engine in ("diffusion", None)
    return PoolShape("local", "tiny", "CPU", gpus, "diffusion" if engine else None)


def test_a_pool_has_the_engine_of_its_workers() -> None:
    assert pools_of([NEW]) == [shape(1, "diffusion")]
    assert pools_of([OLD]) == [shape(4, None)]
    assert pools_of([replace(NEW, engine="of a later release")]) == [shape(1, None)]


def test_while_workers_are_replaced_the_new_ones_speak_for_their_pool() -> None:
    assert pools_of([NEW, OLD]) == pools_of([OLD, NEW]) == [shape(1, "diffusion")]
