"""What is counted, by what became of each action; and how long sessions wait, on a clock that the test sets."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from redis.exceptions import ConnectionError as NoConnection

from genlock_core.claims.facts import Claim, Fit, Move, MoveCause
from genlock_core.claims.identity import WorkerIdentity
from genlock_core.clock import ManualClock
from genlock_core.errors import GenlockError, NoCapacity, UnknownSession
from genlock_core.metrics.operator import OperatorMetrics
from genlock_operator.actions import ClaimWorker, CreatePod, FitClaim, MoveSession, RetirePod, Tell
from genlock_operator.kube.api import PODS, STREAM_SESSIONS, Body, Resource
from genlock_operator.kube.errors import AlreadyExists, RequestRefused, Unavailable
from genlock_operator.measures import Measures
from genlock_operator.observed import Meta, SessionResource
from genlock_operator.reasons import EventReason
from genlock_operator.reconcile.executor import Executor, NotLeading
from genlock_operator.watch.caches import Caches
from tests.operator.autoscale.test_recommend import recommended

META = Meta("studio", "demo", "uid-1", 1, "1", 0, deleting=False)
DEMO = META.key
WORKER = WorkerIdentity("w0", "an incarnation")
CLAIM = Claim(DEMO, 7, WORKER, "w0:7000", "studio/warm", 250)
POD: Body = {"metadata": {"name": "warm-0", "namespace": "studio", "uid": "uid-2", "resourceVersion": "1"}}


class World:
    """Redis and the API server, as far as these actions go: each does what the test says, or raises it."""

    def __init__(self) -> None:
        self.trouble: Exception | None = None
        self.won, self.fit_is = True, Fit.FITS
        self.left: tuple[str, ...] = ()

    def _may(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    async def claim(self, _session: str) -> Claim:
        self._may()
        return CLAIM

    async def move(self, _session: str, **_how: Any) -> Move:
        self._may()
        return Move(CLAIM, won=self.won)

    async def fit(self, _session: str, **_how: Any) -> Fit:
        return self.fit_is

    async def worker(self, _name: str) -> Any:
        return type("View", (), {"identity": WORKER}) if self.left else None

    async def close(self, _worker: WorkerIdentity) -> tuple[str, ...]:
        return self.left

    async def create(self, _resource: Resource, _namespace: str, _body: Mapping[str, Any]) -> Body:
        self._may()
        return POD

    async def get(self, _resource: Resource, _namespace: str, _name: str) -> Body:
        return POD

    def tell(self, _one: Tell) -> None:
        return


class Meter:
    """An executor in that world, and what the metrics say of what they did."""

    def __init__(self) -> None:
        self.world, self.clock, self.caches = World(), ManualClock(), Caches()
        self.registry = CollectorRegistry()
        self.measures = Measures(OperatorMetrics(self.registry), self.clock, self.caches)
        self.leads = True
        claims: Any = self.world
        self.executor = Executor(
            claims=claims,
            control=claims,
            api=claims,
            caches=self.caches,
            recorder=claims,
            may_act=lambda: self.leads,
            done=self.measures.action,
        )

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"genlock_operator_{name}", labels) or 0.0

    def session(self, version: int, *, uid: str = META.uid, status: bytes = b"") -> None:
        """A watch tells of the session."""
        meta = Meta("studio", "demo", uid, 1, f"{version}", 0, deleting=False)
        self.caches.sessions.put(SessionResource(meta, b"{}", status))
        self.measures.heard(STREAM_SESSIONS, DEMO)

    async def tell_assigned(self) -> None:
        await self.executor.perform(Tell("StreamSession", META, "Normal", EventReason.ASSIGNED.value, "w0 has it"))


@pytest.fixture
def meter() -> Meter:
    return Meter()


@pytest.mark.parametrize(
    ("trouble", "result", "refusal"),
    [
        (None, "claimed", ""),
        (NoCapacity(DEMO, "all are full"), "no-capacity", "all are full"),
        (UnknownSession(DEMO), "overtaken", ""),
    ],
)
async def test_claims_are_counted_by_what_became_of_them(
    meter: Meter, trouble: GenlockError | None, result: str, refusal: str
) -> None:
    meter.world.trouble = trouble
    assert await meter.executor.perform(ClaimWorker(DEMO)) == refusal
    assert meter.value("claims_total", result=result) == 1


async def test_a_claim_without_redis_is_a_failed_one(meter: Meter) -> None:
    meter.world.trouble = NoConnection("nobody answers")
    with pytest.raises(NoConnection):
        await meter.executor.perform(ClaimWorker(DEMO))
    assert meter.value("claims_total", result="failed") == 1


@pytest.mark.parametrize(("won", "result"), [(True, "won"), (False, "adopted")])
async def test_a_move_that_another_one_made_is_not_ours(meter: Meter, won: bool, result: str) -> None:
    meter.world.won = won
    await meter.executor.perform(MoveSession(DEMO, 7, MoveCause.DRAIN))
    assert meter.value("moves_total", cause="drain", result=result) == 1


@pytest.mark.parametrize(
    ("trouble", "result"),
    [
        (RequestRefused("create", code=403, message="exceeded quota: gpus"), "quota"),
        (RequestRefused("create", code=403, message="a policy says no"), "refused"),
        (Unavailable("create", code=503, message="not now"), "failed"),
    ],
)
async def test_pods_that_were_not_created_are_counted_by_why(meter: Meter, trouble: GenlockError, result: str) -> None:
    meter.world.trouble = trouble
    with pytest.raises(type(trouble)):
        await meter.executor.perform(CreatePod("studio/warm", POD))
    assert meter.value("pod_creations_total", pool="studio/warm", result=result) == 1


@pytest.mark.parametrize(
    ("trouble", "result"), [(None, "created"), (AlreadyExists("create", code=409, message=""), "there")]
)
async def test_a_pod_that_was_there_was_not_created_twice(
    meter: Meter, trouble: GenlockError | None, result: str
) -> None:
    meter.world.trouble = trouble
    await meter.executor.perform(CreatePod("studio/warm", POD))
    assert meter.value("pod_creations_total", pool="studio/warm", result=result) == 1


@pytest.mark.parametrize(("fit", "refused"), [(Fit.NO_ROOM, True), (Fit.ELSEWHERE, True), (Fit.FITS, False)])
async def test_a_fit_says_why_it_found_no_room(meter: Meter, fit: Fit, refused: bool) -> None:
    meter.world.fit_is = fit
    assert bool(await meter.executor.perform(FitClaim(DEMO, 7))) is refused


async def test_a_pod_whose_worker_still_has_sessions_stays_and_ends_no_drain(meter: Meter) -> None:
    meter.world.left = (DEMO,)
    counted: list[str] = []
    meter.executor.done = lambda _action, result: counted.append(result.value)
    await meter.executor.perform(RetirePod(META, WORKER, "it leaves"))
    assert counted == ["left"]


async def test_who_does_not_lead_does_nothing_and_counts_nothing(meter: Meter) -> None:
    meter.leads = False
    with pytest.raises(NotLeading):
        await meter.executor.perform(ClaimWorker(DEMO))
    assert meter.value("claims_total", result="claimed") == 0


async def test_a_session_is_timed_from_when_a_watch_first_told_of_it(meter: Meter) -> None:
    meter.session(1)
    meter.clock.advance(0.25)
    meter.session(2)
    meter.session(3, status=b'{"phase":"Pending"}')
    meter.clock.advance(0.5)
    await meter.tell_assigned()
    assert meter.value("assign_seconds_sum") == pytest.approx(0.75)
    await meter.tell_assigned()
    assert meter.value("assign_seconds_count") == 1


async def test_a_session_that_had_a_status_when_we_heard_of_it_is_not_timed(meter: Meter) -> None:
    meter.session(1, status=b'{"phase":"Pending"}')
    await meter.tell_assigned()
    assert meter.value("assign_seconds_count") == 0


@pytest.mark.parametrize("ending", ["assigned by another replica", "deleted"])
async def test_sessions_that_wait_no_longer_are_forgotten(meter: Meter, ending: str) -> None:
    meter.session(1)
    if ending == "deleted":
        meter.caches.sessions.drop(DEMO, META.uid)
        meter.measures.heard(STREAM_SESSIONS, DEMO)
    else:
        meter.session(2, status=b'{"worker":"w0"}')
    await meter.tell_assigned()
    assert meter.value("assign_seconds_count") == 0


async def test_a_pod_that_is_called_as_a_session_is_none(meter: Meter) -> None:
    meter.caches.sessions.put(SessionResource(META, b"{}", b""))
    meter.measures.heard(PODS, DEMO)
    await meter.tell_assigned()
    assert meter.value("assign_seconds_count") == 0


def test_events_are_counted_by_what_became_of_them(meter: Meter) -> None:
    for result in ("posted", "dropped", "dropped"):
        meter.measures.event("Assigned", result)
    assert meter.value("events_total", result="dropped") == 2


def test_a_recommendation_is_measured_term_by_term_and_gone_with_its_pool() -> None:
    registry = CollectorRegistry()
    metrics = OperatorMetrics(registry)
    measures = Measures(metrics, ManualClock(), Caches())
    measures.scaled("studio/warm", recommended(replicas=6))

    def workers(term: str) -> float | None:
        return registry.get_sample_value("genlock_operator_autoscale_workers", {"pool": "studio/warm", "term": term})

    def reason(name: str) -> float | None:
        return registry.get_sample_value("genlock_operator_autoscale_reason", {"pool": "studio/warm", "reason": name})

    def mode(name: str) -> float | None:
        return registry.get_sample_value("genlock_operator_autoscale_mode", {"pool": "studio/warm", "mode": name})

    assert [mode(name) for name in ("SLO", "External", "Recommend")] == [1, 0, 0]
    assert [workers(term) for term in ("need", "warm", "replicas", "max", "desired")] == [4, 0, 6, 100, 6]
    assert math.isnan(workers("budget") or 0.0)
    assert [reason(name) for name in ("Replicas", "Sessions", "Arrivals")] == [1, 0, 0]
    measures.scaled("studio/warm", recommended())
    assert [reason(name) for name in ("Replicas", "Sessions", "Arrivals")] == [0, 1, 0]

    metrics.drop_pool("studio/warm")
    assert workers("need") is None
    assert reason("Sessions") is None
    assert mode("SLO") is None
