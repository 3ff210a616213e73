"""What the API server takes, fills in and refuses, and what it says then: one line of a table for every rule."""

from typing import Any

import pytest
from pydantic import BaseModel

from genlock_core.spec.pool import WorkerPoolSpec
from genlock_core.spec.session import StreamSessionSpec
from tests.operator.cluster.resources import LEAST, POOL, ROW, SESSION, Resources

pytestmark = pytest.mark.apiserver

EQUAL_OR_EXISTS = "need a key with operator Equal, and no value with operator Exists"
HIGHEST_STEPS = "must be at most 2 in the mode low-latency; balanced and quality take up to 4"
FIRST_CHUNK = "must be at least 4 frame periods, in which the first chunk's 5 frames come"


def test_required_fields_are_enough(resources: Resources) -> None:
    answer = resources.create()
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(("plural", "model"), [(SESSION, StreamSessionSpec), (POOL, WorkerPoolSpec)])
def test_the_server_fills_in_what_the_model_does(
    plural: str, model: type[BaseModel], sessions: Resources, pools: Resources
) -> None:
    resources = {SESSION: sessions, POOL: pools}[plural]
    ours = model.model_validate(LEAST[plural]).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert resources.create().json()["spec"] == ours


def test_the_server_fills_in_a_profile_s_rows(profiles: Resources) -> None:
    (row,) = profiles.create().json()["spec"]["rows"]
    assert row == {**ROW, "sessions": 1, "doubtful": False}


def test_a_spec_is_required(resources: Resources) -> None:
    answer = resources.kube.post(resources.path, json={**resources.create().json(), "spec": None})
    assert answer.status_code == 422
    assert "spec: Required value" in answer.json()["message"]


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 4, "qualityMode": "quality"},
        {"qualityMode": "low-latency", "steps": 2},
        {"resolution": {"width": 832, "height": 480}},
        {"source": {"type": "file", "path": "a/b.mp4", "loop": False}},
        {"source.type": "none"},
        {"output": {"codec": "vp8", "bitrate": "2.5M"}},
        {"slo": {"timeToFirstFrame": "1s500ms", "frameDeadline": "250ms", "missBudget": "0.5%"}},
        {"slo.timeToFirstFrame": "250ms"},
        {"slo.timeToFirstFrame": "50ms", "source.type": "testPattern"},
        {"approximation": {"policy": "Never", "minSteps": 2}},
        {"approximation": {"minFrameRate": 16}},
        {"approximation": {"models": ["wan2.1-14b", "tiny"]}},
        {"frameRate": 60, "approximation": {"minFrameRate": 60}},
        {"idleTimeout": "744h", "ttlSecondsAfterFinished": 0},
        {"seed": 2**63 - 1},
        {"prompt": "ein Aquarell, 水彩画\nin the rain"},
    ],
    ids=str,
)
def test_a_session_may_say(sessions: Resources, changes: dict[str, Any]) -> None:
    answer = sessions.create(changes)
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    "changes",
    [
        {"min": 3, "max": 3},
        {"max": 0},
        {"gpu": {"product": "AMD-MI300X", "count": 8, "resource": "amd.com/gpu", "nodeProducts": ["mi300x"]}},
        {"template.weights.claim": "weights"},
        {"template.tolerations": [{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoSchedule"}]},
        {"template.compute": {"cpu": "1500m", "memory": "64Gi"}},
        {"scaleInAfter": "0s", "drain.timeout": "1h", "rollout": {"surge": 2, "stalledAfter": "30m"}},
        {"sessionNamespaces": "All", "moveReserve": "12.5%"},
        {"autoscaling": {"mode": "External", "blocking": "0.1%", "weight": 3, "timeZone": "Europe/Berlin"}},
        {"autoscaling.schedule": [{"from": "22:00", "to": "06:00", "days": ["Sat", "Sun"], "min": 2}]},
        {"engine": "diffusion"},
        {"gpu.count": 16},
    ],
    ids=str,
)
def test_a_pool_may_say(pools: Resources, changes: dict[str, Any]) -> None:
    answer = pools.create(changes)
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "Wan!"}, "spec.model in body should match"),
        ({"qualityMode": "fast"}, 'supported values: "low-latency", "balanced", "quality"'),
        ({"steps": 0}, "spec.steps in body should be greater than or equal to 1"),
        ({"steps": 5}, "spec.steps in body should be less than or equal to 4"),
        ({"steps": "2"}, "spec.steps in body must be of type integer"),
        ({"qualityMode": "low-latency", "steps": 3}, f"spec.steps: Invalid value: {HIGHEST_STEPS}"),
        ({"resolution": {"width": 100, "height": 64}}, "spec.resolution.width in body should be a multiple of 16"),
        ({"resolution": {"width": 64, "height": 48}}, "spec.resolution.height in body should be greater than or equal"),
        ({"resolution": {"width": 64}}, "spec.resolution.height: Required value"),
        ({"frameRate": 61}, "spec.frameRate in body should be less than or equal to 60"),
        ({"prompt": " "}, "spec.prompt in body should match"),
        ({"prompt": "x" * 2_001}, "spec.prompt: Too long"),
        ({"seed": -1}, "spec.seed in body should be greater than or equal to 0"),
        ({"noiseScale": 1.5}, "spec.noiseScale in body should be less than or equal to 1"),
        ({"source.type": "ftp"}, 'supported values: "webrtc", "file", "testPattern", "none"'),
        ({"source.type": "file"}, "spec.source.path: Invalid value: is missing: a source of type file needs one"),
        ({"source.path": "a.mp4"}, "spec.source.path: Invalid value: belongs to a source of type file; leave it out"),
        ({"output.codec": "av1"}, 'spec.output.codec: Unsupported value: "av1"'),
        ({"output.bitrate": "50k"}, 'spec.output.bitrate: Invalid value: "50k": must lie between 100k and 20M'),
        ({"output.bitrate": "21M"}, 'spec.output.bitrate: Invalid value: "21M": must lie between 100k and 20M'),
        ({"slo.frameDeadline": "10ms"}, 'slo.frameDeadline: Invalid value: "10ms": must lie between 50ms and 1m'),
        ({"slo.frameDeadline": "soon"}, "spec.slo.frameDeadline in body should match"),
        ({"slo.timeToFirstFrame": "2m"}, 'slo.timeToFirstFrame: Invalid value: "2m": must lie between 50ms and 1m'),
        ({"slo.timeToFirstFrame": "100ms"}, f"spec.slo.timeToFirstFrame: Invalid value: {FIRST_CHUNK}"),
        ({"slo.missBudget": "101%"}, "spec.slo.missBudget in body should match"),
        ({"approximation.policy": "Always"}, 'supported values: "Never", "Adaptive"'),
        ({"approximation.minFrameRate": 17}, "spec.approximation.minFrameRate: Invalid value: must not be larger than"),
        ({"frameRate": 8, "approximation.minFrameRate": 9}, "approximation.minFrameRate: Invalid value: must not be"),
        (
            {"approximation.models": ["tiny", "tiny"]},
            "spec.approximation.models: Invalid value: must name other models",
        ),
        ({"approximation.models": ["wan2.1-1.3b"]}, "spec.approximation.models: Invalid value: must name other models"),
        ({"approximation.models": list("abcde")}, "spec.approximation.models: Too many: 5: must have at most 4 items"),
        ({"approximation.minFrameRate": 0}, "spec.approximation.minFrameRate in body should be greater than or equal"),
        ({"approximation.minSteps": 3}, "spec.approximation.minSteps: Invalid value: must not be larger than steps"),
        ({"steps": 2, "approximation.minSteps": 3}, "approximation.minSteps: Invalid value: must not be larger than"),
        ({"recovery.snapshot": "Always"}, 'supported values: "EveryChunk", "Never"'),
        ({"access.view": "All"}, 'supported values: "Token", "Public"'),
        ({"idleTimeout": "1ms"}, 'spec.idleTimeout: Invalid value: "1ms": must lie between 1s and 744h'),
        ({"ttlSecondsAfterFinished": -1}, "spec.ttlSecondsAfterFinished in body should be greater than or equal to 0"),
        ({"colour": "red"}, 'unknown field "spec.colour"'),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else "",
)
def test_a_session_is_refused(sessions: Resources, changes: dict[str, Any], message: str) -> None:
    answer = sessions.create(changes)
    assert answer.status_code in (400, 422)
    assert message in answer.json()["message"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": None}, "spec.model: Required value"),
        ({"engine": None}, "spec.engine: Required value"),
        ({"engine": "fast"}, 'spec.engine: Unsupported value: "fast": supported values: "mock", "diffusion"'),
        ({"gpu": None}, "spec.gpu: Required value"),
        ({"gpu.count": 0}, "spec.gpu.count in body should be greater than or equal to 1"),
        ({"gpu.count": 17}, "spec.gpu.count in body should be less than or equal to 16"),
        (
            {"engine": "diffusion", "gpu.count": 2},
            "spec.gpu.count: Invalid value: must be at most 1 with the engine diffusion, which computes on no more",
        ),
        ({"gpu.product": ""}, "spec.gpu.product in body should be at least 1 chars long"),
        ({"replicas": -1}, "spec.replicas in body should be greater than or equal to 0"),
        ({"max": 1_001}, "spec.max in body should be less than or equal to 1000"),
        ({"min": 3, "max": 2}, "spec.min: Invalid value: must not be larger than max"),
        ({"scaleInAfter": "soon"}, "spec.scaleInAfter in body should match"),
        ({"moveReserve": "200%"}, "spec.moveReserve in body should match"),
        ({"autoscaling.mode": "Auto"}, 'supported values: "SLO", "External", "Recommend"'),
        (
            {"autoscaling.blocking": "60%"},
            'spec.autoscaling.blocking: Invalid value: "60%": must lie between 0.1% and 50%',
        ),
        ({"autoscaling.blocking": "some"}, "spec.autoscaling.blocking in body should match"),
        ({"autoscaling.weight": 0}, "spec.autoscaling.weight in body should be greater than or equal to 1"),
        ({"autoscaling.timeZone": "Europe Berlin"}, "spec.autoscaling.timeZone in body should match"),
        (
            {"autoscaling.schedule": [{"from": "8:00", "to": "18:00", "min": 2}]},
            "spec.autoscaling.schedule[0].from in body should match",
        ),
        (
            {"autoscaling.schedule": [{"from": "08:00", "to": "08:00", "min": 2}]},
            "must not begin and end at the same time; a whole day is from 00:00 to 24:00",
        ),
        (
            {"max": 3, "autoscaling.schedule": [{"from": "08:00", "to": "18:00", "min": 4}]},
            "spec.autoscaling.schedule: Invalid value: must not ask for more workers than max",
        ),
        ({"sessionNamespaces": "Some"}, 'supported values: "Same", "All"'),
        ({"template.weights": {"claim": "a", "image": "b"}}, "weights.image: Invalid value: cannot stand beside claim"),
        (
            {"template.tolerations": [{"operator": "Exists", "value": "x"}]},
            f"spec.template.tolerations: Invalid value: {EQUAL_OR_EXISTS}",
        ),
        ({"template.tolerations": [{"value": "x"}]}, f"spec.template.tolerations: Invalid value: {EQUAL_OR_EXISTS}"),
        ({"template.compute.cpu": "many"}, "spec.template.compute.cpu in body should match"),
        ({"template.compute.memory": "16GB"}, "spec.template.compute.memory in body should match"),
        ({"rollout.surge": 0}, "spec.rollout.surge in body should be greater than or equal to 1"),
        ({"rollout.stalledAfter": "1s"}, 'rollout.stalledAfter: Invalid value: "1s": must lie between 10s and 744h'),
        ({"drain.timeout": "1ms"}, 'spec.drain.timeout: Invalid value: "1ms": must lie between 1s and 744h'),
        ({"template.imagee": "x"}, 'unknown field "spec.template.imagee"'),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else "",
)
def test_a_pool_is_refused(pools: Resources, changes: dict[str, Any], message: str) -> None:
    answer = pools.create(changes)
    assert answer.status_code in (400, 422)
    assert message in answer.json()["message"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": None}, "spec.rows: Required value"),
        ({"rows.0.resolution": "big"}, "spec.rows[0].resolution in body should match"),
        ({"rows.0.resolution": "100x100"}, "both sides must be multiples of 16 between 64 and 1920"),
        ({"rows.0.steps": 5}, "spec.rows[0].steps in body should be less than or equal to 4"),
        ({"rows.0.gpus": 17}, "spec.rows[0].gpus in body should be less than or equal to 16"),
        ({"rows.0.engine": "warp"}, 'supported values: "mock", "diffusion", "reference"'),
        ({"rows.0.fpsPerSession": 0}, "spec.rows[0].fpsPerSession in body should be greater than 0"),
        ({"rows.0.source": None}, "spec.rows[0].source: Required value"),
        ({"rows.0.chunkLatencyMs": {"p50": 1}}, "spec.rows[0].chunkLatencyMs.p99: Required value"),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else "",
)
def test_a_profile_is_refused(profiles: Resources, changes: dict[str, Any], message: str) -> None:
    answer = profiles.create(changes)
    assert answer.status_code == 422
    assert message in answer.json()["message"]


@pytest.mark.parametrize("engine", ["mock", "diffusion", "reference"])
def test_a_row_may_name_what_it_was_measured_with_and_need_not(profiles: Resources, engine: str) -> None:
    assert profiles.create({"rows.0.engine": engine}).status_code == 201
    assert profiles.get()["spec"]["rows"][0]["engine"] == engine
    assert profiles.create(name="before").status_code == 201
    assert "engine" not in profiles.get("before")["spec"]["rows"][0]


@pytest.mark.parametrize("path", ["idleTimeout", "output.bitrate"])
def test_a_quantity_in_words_is_one_mistake_and_not_two(sessions: Resources, path: str) -> None:
    message = sessions.create({path: "much"}).json()["message"]
    assert "in body should match" in message
    assert "conversion error" not in message


def test_a_session_s_name_is_a_dns_label(sessions: Resources) -> None:
    assert "metadata.name in body should match" in sessions.create(name="a.b").json()["message"]


def test_a_pool_s_name_leaves_room_for_its_workers_names(pools: Resources) -> None:
    assert pools.create(name="p" * 40).status_code == 201
    assert "metadata.name in body should match" in pools.create(name="p" * 41).json()["message"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model", "other"),
        ("qualityMode", "quality"),
        ("resolution", {"width": 640, "height": 480}),
        ("frameRate", 24),
        ("seed", 7),
    ],
)
def test_what_a_stream_is_built_on_never_changes(sessions: Resources, path: str, value: Any) -> None:
    sessions.create()
    answer = sessions.patch({"spec": {path: value}})
    assert answer.status_code == 422
    assert f"{path} cannot be changed; make a session of another name" in answer.json()["message"]


def test_the_models_that_may_stand_in_never_change(sessions: Resources) -> None:
    sessions.create()
    answer = sessions.patch({"spec": {"approximation": {"models": ["tiny"]}}})
    assert "models cannot be changed; make a session of another name" in answer.json()["message"]


def test_a_session_s_kind_of_source_never_changes(sessions: Resources) -> None:
    sessions.create()
    answer = sessions.patch({"spec": {"source": {"type": "none"}}})
    assert "type cannot be changed; make a session of another name" in answer.json()["message"]


@pytest.mark.parametrize(("path", "value"), [("resolution", None), ("steps", 3), ("prompt", "an oil painting")])
def test_what_may_change_does(sessions: Resources, path: str, value: Any) -> None:
    sessions.create()
    assert sessions.patch({"spec": {path: value}}).status_code == 200


def test_a_given_resolution_cannot_be_taken_away(sessions: Resources) -> None:
    sessions.create({"resolution": {"width": 640, "height": 480}})
    answer = sessions.patch({"spec": {"resolution": None}})
    assert "resolution cannot be changed; make a session of another name" in answer.json()["message"]


@pytest.mark.parametrize(
    ("path", "value"),
    [("model", "other"), ("engine", "diffusion"), ("gpu", {"product": "NVIDIA-L40S"}), ("gpu", {"count": 2})],
)
def test_the_shape_of_a_pool_never_changes(pools: Resources, path: str, value: Any) -> None:
    pools.create()
    answer = pools.patch({"spec": {path: value}})
    assert answer.status_code == 422
    assert f"{path} cannot be changed; make a pool of another name" in answer.json()["message"]


def test_the_rest_of_a_pool_may_change(pools: Resources) -> None:
    pools.create()
    assert pools.patch({"spec": {"max": 3, "template": {"image": "worker:2"}}}).status_code == 200
