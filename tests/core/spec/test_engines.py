"""On how many GPUs an engine computes, for those who are not the engine."""

import pytest

from genlock_core.spec.engines import MOST_GPUS, EngineKind, computed_on, engine_kind, gpus_mistake
from genlock_core.spec.pool import PoolGpu, WorkerPoolSpec
from genlock_core.spec.rules import NEW_POOL_RULES


@pytest.mark.parametrize(
    ("engine", "gpus", "mistake", "computes"),
    [
        ("mock", 1, "", 1),
        ("mock", 16, "", 16),
        ("diffusion", 1, "", 1),
        ("diffusion", 2, "the diffusion engine computes on 1 GPU, not on 2", 1),
        ("diffusion", 4, "the diffusion engine computes on 1 GPU, not on 4", 1),
    ],
)
def test_an_engine_takes_the_gpus_that_it_computes_on(
    engine: EngineKind, gpus: int, mistake: str, computes: int
) -> None:
    assert gpus_mistake(engine, gpus) == mistake
    assert computed_on(engine, gpus) == computes
    assert all(rule.holds(engine, gpus) is (mistake == "") for rule in NEW_POOL_RULES)


def test_an_engine_that_is_not_known_is_none() -> None:
    assert [engine_kind(name) for name in ("mock", "diffusion", "", "warp")] == ["mock", "diffusion", None, None]


def test_a_pool_from_before_the_rule_is_read_and_computes_on_what_its_engine_can() -> None:
    stored = WorkerPoolSpec(model="m", engine="diffusion", gpu=PoolGpu(product="g", count=4))
    assert (stored.gpu.count, stored.computes_on) == (4, 1)
    assert WorkerPoolSpec(model="m", engine="mock", gpu=PoolGpu(product="g", count=4)).computes_on == 4
    assert set(MOST_GPUS) == {"mock", "diffusion"}
