"""The WorkerPool's own rules, and the example that people start from."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from genlock_core.sizing.candidates import PoolShape
from genlock_core.sizing.placement import Placement, place
from genlock_core.sizing.profile import load_profiles
from genlock_core.spec.pool import (
    POOL_KIND,
    PoolGpu,
    Toleration,
    Weights,
    WorkerPoolSpec,
    WorkerTemplate,
    node_products,
)
from genlock_core.spec.session import API_VERSION, SessionKey, StreamSessionSpec, resolve

EXAMPLE = Path(__file__).parents[3] / "examples/workerpool.yaml"


def spec(**changes: Any) -> WorkerPoolSpec:
    return WorkerPoolSpec(model="wan2.1-1.3b", engine="mock", gpu=PoolGpu(product="NVIDIA-H100", count=1), **changes)


def test_the_example_is_a_pool_that_serves_a_session_of_every_default() -> None:
    (document,) = yaml.safe_load_all(EXAMPLE.read_text())
    assert (document["apiVersion"], document["kind"]) == (API_VERSION, POOL_KIND)
    pool = WorkerPoolSpec.model_validate(document["spec"], by_name=False)
    shape = PoolShape("default/mock", pool.model, pool.gpu.product, pool.computes_on, pool.engine)
    assert pool.engine == "mock"
    session = resolve(SessionKey(name="demo"), StreamSessionSpec())
    assert isinstance(place(session, load_profiles(), [shape]), Placement)


def test_min_is_at_most_max() -> None:
    assert spec(min=2, max=2).min == 2
    with pytest.raises(ValidationError, match="min: must not be larger than max"):
        spec(min=3, max=2)


def test_weights_come_from_one_place_or_none() -> None:
    for weights in (Weights(), Weights(claim="a"), Weights(image="b")):
        assert spec(template=WorkerTemplate(weights=weights)).template.weights == weights
    with pytest.raises(ValidationError, match="one place"):
        Weights(claim="a", image="b")


@pytest.mark.parametrize(
    ("toleration", "holds"),
    [
        (Toleration(key="a", value="b"), True),
        (Toleration(key="a"), True),
        (Toleration(operator="Exists"), True),
        (Toleration(key="a", operator="Exists"), True),
        (Toleration(value="b"), False),
        (Toleration(key="a", operator="Exists", value="b"), False),
    ],
)
def test_tolerations_are_those_that_a_pod_may_have(toleration: Toleration, holds: bool) -> None:
    if holds:
        assert WorkerTemplate(tolerations=[toleration])
    else:
        with pytest.raises(ValidationError, match="operator Equal"):
            WorkerTemplate(tolerations=[Toleration(operator="Exists"), toleration])


def test_a_gpu_is_known_by_the_names_that_nodes_give_it() -> None:
    assert "NVIDIA-H100-80GB-HBM3" in node_products(PoolGpu(product="NVIDIA-H100", count=1))
    assert node_products(PoolGpu(product="Other", count=1)) == ("Other",)
    assert node_products(PoolGpu(product="Other", count=1, node_products=["Mine"])) == ("Mine",)
