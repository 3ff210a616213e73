"""How busy the engine is, and who gives way."""

from prometheus_client import CollectorRegistry

from genlock_core.media import SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_core.sizing.step_time import StepTime
from genlock_worker.engines.contract import StreamSettings
from genlock_worker.intake.chunks import InputChunk, SourceFrame
from genlock_worker.rows.approximation import RAISE_AFTER_S, RAISE_BELOW_LOAD
from genlock_worker.rows.cost_model import CostModel
from genlock_worker.rows.load import BUSY_WINDOW_S, EngineLoad
from genlock_worker.rows.session_rows import SessionPlan, SessionRows

CHUNK_S = 4 / 16


def load(cost: StepTime) -> EngineLoad:
    return EngineLoad(cost=CostModel(cost), metrics=WorkerMetrics(CollectorRegistry()), now_s=10.0)


def session(name: str, *, steps: int = 2, min_steps: int | None = 1) -> SessionRows:
    settings = StreamSettings("oil", steps, 64, 64, 16, seed=1, noise_scale=0.7)
    rows = SessionRows(SessionPlan(name, "m", settings, 0.5, min_steps), now_s=10.0)
    for count in (5, 4):
        rows.offer(InputChunk(tuple(SourceFrame(SourcePosition(1, n), None, 0.0) for n in range(count)), 1.0))
        if count == 5:
            rows.begin()
    return rows


def test_the_share_is_measured_once_a_whole_window_has_passed() -> None:
    measured = load(StepTime(0.01, 0.01))
    measured.measure(0.4, 10.0 + BUSY_WINDOW_S / 2)
    assert measured.share == 0.0
    measured.measure(0.4 * BUSY_WINDOW_S, 10.0 + BUSY_WINDOW_S)
    assert measured.share == 0.4
    measured.measure(0.4 * BUSY_WINDOW_S + 5.0, 10.0 + 2 * BUSY_WINDOW_S)
    assert measured.share == 1.0


def given_way(rows: SessionRows) -> float:
    """The session gives way by one step; returns when."""
    policy = rows.policy
    assert policy is not None
    for at_s in (12.0, 12.1):
        policy.trouble(at_s)
    assert policy.decide(rows.ceiling, 12.1, load_above=2.0).steps == rows.ceiling - 1
    return 12.1


def test_a_session_gets_a_step_back_only_if_the_worker_can_bear_one_more() -> None:
    # Two sessions; the second runs 2 of its 3 steps: four rows now, five with the step.
    for fits in (True, False):
        share = RAISE_BELOW_LOAD * (0.99 if fits else 1.01)
        cost = StepTime(0.0, share * CHUNK_S / 5)
        one, other = session("a", min_steps=None), session("b", steps=3)
        since_s = given_way(other)
        load(cost).decide_levels([one, other], since_s + RAISE_AFTER_S + 0.1)
        assert other.next_steps == (3 if fits else 2)
        assert one.next_steps == 2
