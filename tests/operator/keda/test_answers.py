"""What KEDA is answered: the recommendation of an External pool, and nothing that would be followed wrongly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.levelling.scaling import ScalingTold
from genlock_core.spec.autoscaling import ScalingMode
from genlock_operator.keda.answers import NoAnswer, NoAnswerReason, pool_of, workers
from genlock_operator.keda.wire import ScaledObject


def told(mode: str, desired: int = 3) -> ScalingTold:
    return ScalingTold(
        at_ms=0, mode=mode, desired=desired, reason="Sessions", terms={"need": desired}, speed=1.0, sentences=()
    )


def test_the_pool_lies_in_the_namespace_of_who_asks() -> None:
    assert pool_of(ScaledObject("follow", "live", {"pool": "warm", "scalerAddress": "operator:9090"})) == "live/warm"


@pytest.mark.parametrize(
    "asking",
    [
        ScaledObject("follow", "live", {}),
        ScaledObject("follow", "live", {"pool": ""}),
        ScaledObject("follow", "", {"pool": "warm"}),
        ScaledObject("follow", "live", {"pool": "others/warm"}),
    ],
)
def test_a_trigger_that_names_no_pool_of_its_namespace_is_told_so(asking: ScaledObject) -> None:
    with pytest.raises(NoAnswer, match=r"metadata\.pool") as refused:
        pool_of(asking)
    assert refused.value.why is NoAnswerReason.NO_POOL


@given(namespace=st.text(max_size=8), pool=st.text(max_size=8))
def test_nobody_reaches_a_pool_of_another_namespace(namespace: str, pool: str) -> None:
    try:
        key = pool_of(ScaledObject("x", namespace, {"pool": pool}))
    except NoAnswer:
        return
    assert key.rpartition("/") == (namespace, "/", pool)


@given(st.integers(0, 10_000))
def test_an_external_pool_is_recommended_what_its_sessions_need(desired: int) -> None:
    assert workers("live/warm", told(ScalingMode.EXTERNAL, desired)) == desired


@pytest.mark.parametrize("mode", [ScalingMode.SLO, ScalingMode.RECOMMEND])
def test_who_sets_replicas_of_a_pool_that_takes_them_for_a_floor_gets_no_number(mode: ScalingMode) -> None:
    with pytest.raises(NoAnswer, match="set it to External") as refused:
        workers("live/warm", told(mode))
    assert refused.value.why is NoAnswerReason.NOT_EXTERNAL


def test_a_pool_of_which_nobody_tells_has_no_number() -> None:
    with pytest.raises(NoAnswer, match="live/warm") as refused:
        workers("live/warm", None)
    assert refused.value.why is NoAnswerReason.UNKNOWN
