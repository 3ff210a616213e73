"""What a session needs before its first frame comes from its spec, its users' wishes and its last owner."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from genlock_core.clock import SystemClock
from genlock_core.metrics import WorkerMetrics
from genlock_core.spec.session import ResolvedSession, SessionKey, StreamSessionSpec, resolve
from genlock_worker.output.encode import EncoderSettings
from genlock_worker.session.controls import RequestedSettings
from genlock_worker.session.opening import Services, engine_name, output_for, plan_for

REQUESTED = RequestedSettings(prompt="neon", steps=3, noise_scale=0.6)


def spec(**fields: Any) -> ResolvedSession:
    shape = {"resolution": {"width": 128, "height": 96}, "frameRate": 12, "seed": 5, "steps": 4}
    return resolve(SessionKey(namespace="studio", name="demo"), StreamSessionSpec.model_validate({**shape, **fields}))


def test_another_epoch_is_another_session_to_the_engine() -> None:
    assert engine_name("studio/demo", 3) == "studio/demo@3"


def test_the_plan_has_the_spec_and_what_users_asked_for_since() -> None:
    wanted = spec(slo={"frameDeadline": "700ms"})
    plan = plan_for(wanted, REQUESTED, model="tiny", epoch=3)
    assert (plan.session, plan.model) == ("studio/demo@3", "tiny")
    assert plan.deadline_s == 0.7
    settings = plan.settings
    assert (settings.prompt, settings.steps, settings.noise_scale) == ("neon", 3, 0.6)
    assert (settings.width, settings.height, settings.frame_rate, settings.seed) == (128, 96, 12, 5)
    assert settings.text_only is False


@pytest.mark.parametrize(("source", "text_only"), [("none", True), ("testPattern", False), ("webrtc", False)])
def test_only_a_session_without_a_source_is_made_of_its_prompt_alone(source: str, text_only: bool) -> None:
    plan = plan_for(spec(source={"type": source}), REQUESTED, model="tiny", epoch=1)
    assert plan.settings.text_only is text_only


@pytest.mark.parametrize(("policy", "min_steps"), [("Adaptive", 2), ("Never", None)])
def test_only_an_adaptive_session_may_be_run_in_fewer_steps(policy: str, min_steps: int | None) -> None:
    approximation = {"policy": policy, "minSteps": 2}
    plan = plan_for(spec(approximation=approximation), REQUESTED, model="tiny", epoch=1)
    assert plan.min_steps == min_steps
    assert not plan.may_halve


def test_a_session_that_allows_it_may_be_run_with_every_second_frame() -> None:
    wanted = spec(approximation={"minFrameRate": 6})
    assert plan_for(wanted, REQUESTED, model="tiny", epoch=1).may_halve


def test_the_way_out_is_as_the_spec_wants_it() -> None:
    wanted = spec(output={"bitrate": "2M"}, slo={"frameDeadline": "700ms"})
    services = SimpleNamespace(h264="libx264", clock=SystemClock(), metrics=WorkerMetrics(CollectorRegistry()))
    with ThreadPoolExecutor(1) as executor:
        output = output_for(wanted, services=cast("Services", services), executor=executor, on_sent=lambda _: None)
    assert output._session == "studio/demo"
    assert output._settings == EncoderSettings(128, 96, 12, 2_000_000)
    assert output._h264 == "libx264"
    (paced, *_) = output._pacer.schedule(complete_s=10.0, ready_s=10.1, spans=(1,) * 4)
    assert paced.due_s == pytest.approx(10.7)
