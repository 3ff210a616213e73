"""Which pools a session may go to: those that serve its namespace, by the profiles of each pool's own."""

import math
from dataclasses import replace
from typing import Any

import pytest

from genlock_core.claims.identity import CAPACITY
from genlock_core.sizing.placement import Placement, Unplaceable, UnplaceableKind, place
from genlock_core.spec.session import Resolution, ResolvedSession, SessionKey, StreamSessionSpec, resolve
from genlock_operator.autoscale.correction import Correction
from genlock_operator.reconcile.placing import Placer, measured_of, placement_of, shape, step_times_of
from genlock_operator.watch import facts
from genlock_operator.watch.caches import Caches, Profile

MODEL = "wan2.1-1.3b"


class Installation:
    """Pools and profiles of several namespaces; every object gets a newer resourceVersion than the one before."""

    def __init__(self) -> None:
        self.caches = Caches()
        self._version = 0

    def _meta(self, key: str, **more: Any) -> dict[str, Any]:
        self._version += 1
        namespace, name = key.split("/")
        return {
            "namespace": namespace,
            "name": name,
            "uid": f"uid of {key}",
            "resourceVersion": f"{self._version}",
            **more,
        }

    def pool(self, key: str, *, gpus: int = 4, serves: str = "Same", deleting: bool = False, **spec: Any) -> None:
        more = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleting else {}
        whole = {
            "model": MODEL,
            "engine": "mock",
            "gpu": {"product": "NVIDIA-H100", "count": gpus},
            "sessionNamespaces": serves,
            **spec,
        }
        self.caches.pools.put(facts.pool_of({"metadata": self._meta(key, **more), "spec": whole}))

    def profile(self, namespace: str, fps: dict[int, float], model: str = MODEL, **named: Any) -> None:
        rows = [
            {
                "resolution": "832x480",
                "steps": steps,
                "gpuProduct": "NVIDIA-H100",
                "gpus": gpus,
                "fpsPerSession": per_step / steps,
                "chunkLatencyMs": {"p50": 80.0, "p95": 90.0, "p99": 100.0},
                "source": "made up",
                **named,
            }
            for gpus, per_step in fps.items()
            for steps in (1, 2, 4)
        ]
        body = {"metadata": self._meta(f"{namespace}/{model}"), "spec": {"rows": rows}}
        self.caches.profiles.put(Profile(facts.meta_of(body), facts.rows_of(body)))

    def pools_for(self, one: ResolvedSession) -> list[str]:
        found = placement_of(one, self.caches)
        assert isinstance(found, Placement), found
        return [choice.pool for choice in found.choices]


@pytest.fixture
def there() -> Installation:
    return Installation()


def session(namespace: str = "studio", **spec: Any) -> ResolvedSession:
    return resolve(SessionKey(namespace=namespace, name="demo"), StreamSessionSpec(**spec))


def test_a_pool_serves_its_own_namespace_or_everybody(there: Installation) -> None:
    there.profile("studio", {4: 64.0})
    there.pool("studio/own")
    assert there.pools_for(session("studio")) == ["studio/own"]
    elsewhere = placement_of(session("other"), there.caches)
    assert isinstance(elsewhere, Unplaceable)
    assert elsewhere.kind is UnplaceableKind.NO_POOL
    there.pool("studio/own", serves="All")
    assert there.pools_for(session("other")) == ["studio/own"]


def test_a_pool_is_sized_by_the_profiles_of_its_own_namespace(there: Installation) -> None:
    there.pool("studio/own")
    there.pool("gpus/shared", serves="All")
    there.profile("studio", {4: 8.0})
    there.profile("gpus", {4: 64.0})
    assert there.pools_for(session("studio")) == ["gpus/shared"]


def test_the_cheapest_pool_comes_first_whosever_it_is(there: Installation) -> None:
    for namespace in ("studio", "gpus"):
        there.profile(namespace, {1: 64.0, 4: 64.0})
    there.pool("studio/large", gpus=4)
    there.pool("gpus/small", gpus=1, serves="All")
    assert there.pools_for(session("studio")) == ["gpus/small", "studio/large"]


def test_a_pool_that_is_deleted_takes_nobody(there: Installation) -> None:
    there.profile("studio", {4: 64.0})
    there.pool("studio/leaving", deleting=True)
    there.pool("studio/staying")
    assert there.pools_for(session()) == ["studio/staying"]


def test_what_is_missing_is_said_pool_by_pool(there: Installation) -> None:
    there.profile("studio", {4: 8.0})
    there.pool("studio/slow")
    there.pool("studio/unmeasured", gpus=2)
    found = placement_of(session(), there.caches)
    assert isinstance(found, Unplaceable)
    assert found.kind is UnplaceableKind.NO_POOL_OF_SHAPE
    assert [pool for pool in ("studio/slow", "studio/unmeasured") if pool in str(found)] == [
        "studio/slow",
        "studio/unmeasured",
    ]


@pytest.mark.parametrize(
    "spec",
    [
        {"steps": 4},
        {"resolution": {"width": 512, "height": 512}},
        {"frame_rate": 30},
        {"model": "wan2.1-14b"},
        {"slo": {"frame_deadline": "60ms"}},
        {"approximation": {"min_frame_rate": 8}},
        {"approximation": {"models": ("wan2.1-14b",)}},
    ],
)
def test_sessions_of_another_shape_get_another_answer(there: Installation, spec: dict[str, Any]) -> None:
    there.profile("studio", {4: 64.0})
    there.profile("studio", {4: 32.0}, "wan2.1-14b")
    there.pool("studio/own")
    placer = Placer(there.caches, {})
    for one in (session(), session(**spec), session("other"), session()):
        assert placer.placement_of(one) == placement_of(one, there.caches)


def test_sessions_of_one_shape_share_an_answer_until_pools_or_profiles_change(there: Installation) -> None:
    there.profile("studio", {4: 64.0})
    there.pool("studio/own")
    placer = Placer(there.caches, {})
    first = placer.placement_of(session())
    there.pool("studio/own", replicas=3)  # nothing that a placement goes by
    assert placer.placement_of(session(prompt="another one")) is first
    for change in (
        lambda: there.profile("studio", {4: 32.0}),
        lambda: there.pool("studio/other", serves="All"),
        lambda: there.caches.pools.drop("studio/own", "uid of studio/own"),
    ):
        change()
        found = placer.placement_of(session())
        assert found != first
        assert found == placement_of(session(), there.caches)
        first = found


def test_the_operator_and_whoever_has_one_set_of_profiles_write_the_same_price_lists(there: Installation) -> None:
    for model, fps in (("wan2.1-1.3b", 64.0), ("wan2.1-14b", 32.0)):
        there.profile("studio", {1: fps / 2, 4: fps}, model)
    there.pool("studio/large", gpus=4)
    there.pool("studio/small", gpus=1)
    there.pool("studio/other", gpus=4, model="wan2.1-14b")
    may = {"models": ("wan2.1-14b",), "min_frame_rate": 4}
    asked = session(frame_rate=8, slo={"frame_deadline": "1s"}, approximation=may)

    rows = [row for one in there.caches.profiles for row in one.rows]
    found = place(asked, rows, [shape(pool) for pool in there.caches.pools])
    assert isinstance(found, Placement)
    assert [choice.half is not None for choice in found.choices] == [True, True, True]
    assert placement_of(asked, there.caches) == found


def test_a_model_that_stands_in_is_sized_by_the_profiles_of_its_own_pool(there: Installation) -> None:
    there.pool("studio/own")
    there.profile("studio", {4: 64.0})
    there.profile("studio", {4: 8.0}, "wan2.1-14b")
    there.pool("gpus/shared", serves="All", model="wan2.1-14b")
    there.profile("gpus", {4: 32.0}, "wan2.1-14b")
    found = placement_of(session(approximation={"models": ("wan2.1-14b", "nobodys")}), there.caches)
    assert isinstance(found, Placement)
    assert [(choice.pool, choice.model) for choice in found.choices] == [
        ("studio/own", None), ("gpus/shared", "wan2.1-14b")
    ]  # fmt: skip
    assert found.not_standing_in["nobodys"].kind is UnplaceableKind.NO_POOL


def test_a_pools_workers_are_told_what_the_profiles_that_size_it_say_of_them(there: Installation) -> None:
    there.pool("studio/own", gpus=4)
    pool = there.caches.pools.get("studio/own")
    assert pool is not None
    assert measured_of(pool, there.caches) == {}
    there.profile("studio", {1: 16.0, 4: 64.0})
    there.profile("studio", {4: 32.0}, "wan2.1-14b")
    there.profile("other", {4: 99.0})
    assert measured_of(pool, there.caches) == {Resolution(width=832, height=480): {1: 64.0, 2: 32.0, 4: 16.0}}


def test_a_stored_pool_of_more_gpus_than_its_engine_computes_on_is_sized_by_those_it_does(there: Installation) -> None:
    there.profile("studio", {1: 40.0, 4: 640.0})
    there.pool("studio/real", engine="diffusion", gpus=4)
    there.pool("studio/played", gpus=4)
    (real,) = [pool for pool in there.caches.pools if pool.meta.name == "real"]
    found = placement_of(session(), there.caches)
    assert isinstance(found, Placement)
    assert {choice.pool: choice.cost for choice in found.choices} == {"studio/real": 1_000, "studio/played": 50}
    assert measured_of(real, there.caches)[Resolution(width=832, height=480)][2] == 20.0


def test_where_workers_are_slower_than_profiled_sessions_pay_for_it_in_that_pool_alone(there: Installation) -> None:
    there.profile("studio", {4: 64.0, 2: 128.0})
    there.pool("studio/own")
    there.pool("studio/other")
    speeds: dict[str, Correction] = {}
    placer = Placer(there.caches, speeds)
    before = placer.placement_of(session(steps=2, approximation={"min_frame_rate": 8}))
    speeds["studio/own"] = Correction(0.8)
    after = placer.placement_of(session(steps=2, approximation={"min_frame_rate": 8}))
    assert isinstance(before, Placement)
    assert isinstance(after, Placement)

    was, slow = (next(one for one in found.choices if one.pool == "studio/own") for found in (before, after))
    assert slow.cost == math.ceil(was.cost / 0.8)
    assert slow.levels == tuple(min(CAPACITY, math.ceil(cost / 0.8)) for cost in was.levels)
    assert was.half is not None
    assert slow.half == replace(was.half, cost=math.ceil(was.half.cost / 0.8))
    assert [one for one in after.choices if one.pool == "studio/other"] == [
        one for one in before.choices if one.pool == "studio/other"
    ]


def test_rows_that_name_tiny_coders_size_pools_whose_workers_have_them_alone(there: Installation) -> None:
    there.profile("studio", {4: 400.0}, encoder="tiny", decoder="tiny")
    tiny = {"GENLOCK_WORKER_ENCODER": "tiny", "GENLOCK_WORKER_DECODER": "tiny"}
    there.pool("studio/plain")
    assert isinstance(placement_of(session(model=MODEL), there.caches), Unplaceable)
    there.pool("studio/small", template={"env": tiny})
    assert there.pools_for(session(model=MODEL)) == ["studio/small"]
    found = {pool.meta.name: measured_of(pool, there.caches) for pool in there.caches.pools}
    assert (bool(found["plain"]), bool(found["small"])) == (False, True)


def test_what_forwards_take_is_that_of_the_pools_own_profiles(there: Installation) -> None:
    there.pool("studio/h100", gpus=1)
    there.profile("elsewhere", {1: 20.0}, microStepMs=9.0)
    there.profile("studio", {1: 20.0}, microStepMs=30.0)
    (pool,) = there.caches.pools
    (told,) = step_times_of(pool, there.caches).values()
    assert told.seconds(2) == pytest.approx(0.030)
