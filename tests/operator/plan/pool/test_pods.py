"""The pods of a pool, as the API server and the kubelet would read them."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.process.options import options_of
from genlock_core.sizing.step_time import StepTime
from genlock_core.spec.pool import WorkerPoolSpec
from genlock_core.spec.session import Resolution
from genlock_operator.observed import PoolResource
from genlock_operator.plan.policy import SecretKey, WorkerDefaults
from genlock_operator.plan.pool.pods import placeholder_pod, pod_name, revision, selector, worker_pod
from genlock_worker.settings import PROGRAM, WorkerSettings, parse_settings
from tests.operator.plan.pool_world import DEFAULTS, pool_spec, resource_of

TIMES = {Resolution(width=832, height=480): StepTime(0.004, 0.011, 0.012)}
MEASURED = {Resolution(width=832, height=480): {1: 20.5, 2: 17.97}}


def pool(**spec: Any) -> PoolResource:
    return resource_of(pool_spec(**spec))


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    (one,) = manifest["spec"]["containers"]
    return dict(one)


def environment(manifest: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container(manifest)["env"]}


def volume_names(manifest: dict[str, Any]) -> set[str]:
    return {volume["name"] for volume in manifest["spec"]["volumes"]}


# -- the worker ------------------------------------------------------------------------------------------------------


def test_a_worker_is_named_after_pool_revision_and_ordinal() -> None:
    name = worker_pod(pool(), 3, DEFAULTS)["metadata"]["name"]
    assert name == f"h100-{revision(pool(), DEFAULTS)}-3"


def test_the_pool_owns_its_worker_and_nothing_waits_for_that() -> None:
    (owner,) = worker_pod(pool(), 0, DEFAULTS)["metadata"]["ownerReferences"]
    assert owner == {
        "apiVersion": "genlock.dev/v1alpha1",
        "kind": "WorkerPool",
        "name": "h100",
        "uid": "uid-pool",
        "controller": True,
        "blockOwnerDeletion": False,
    }


def test_a_worker_has_the_labels_that_others_select_by() -> None:
    labels = worker_pod(pool(), 0, DEFAULTS)["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "genlock-worker"
    assert labels["genlock.dev/state"] == "Warm"
    assert all(f"{key}={labels[key]}" in selector("h100") for key in ("genlock.dev/pool", "genlock.dev/role"))


@pytest.mark.parametrize("make", [worker_pod, placeholder_pod])
def test_a_pod_is_guaranteed_its_gpus_cpus_and_memory(make: Any) -> None:
    spec = pool(
        gpu={"product": "X", "count": 2, "resource": "amd.com/gpu"},
        template={"compute": {"cpu": "8", "memory": "32Gi"}},
    )
    resources = container(make(spec, 0, DEFAULTS))["resources"]
    assert resources["limits"] == resources["requests"] == {"cpu": "8", "memory": "32Gi", "amd.com/gpu": "2"}


@pytest.mark.parametrize("make", [worker_pod, placeholder_pod])
def test_a_pod_keeps_to_the_restricted_pod_security_level(make: Any) -> None:
    manifest = make(pool(), 0, DEFAULTS)
    of_pod, of_container = manifest["spec"]["securityContext"], container(manifest)["securityContext"]
    assert of_pod["runAsNonRoot"] is True
    assert of_pod["runAsUser"] == 10_001
    assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert of_container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert manifest["spec"]["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(manifest["spec"])


@pytest.mark.parametrize("make", [worker_pod, placeholder_pod])
def test_a_pod_needs_a_node_with_its_gpu(make: Any) -> None:
    affinity = make(pool(), 0, DEFAULTS)["spec"]["affinity"]["nodeAffinity"]
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    (expression,) = term["matchExpressions"]
    assert (expression["key"], expression["operator"]) == ("nvidia.com/gpu.product", "In")
    assert "NVIDIA-H100-80GB-HBM3" in expression["values"]


def test_workers_would_rather_be_together() -> None:
    affinity = worker_pod(pool(), 0, DEFAULTS)["spec"]["affinity"]["podAffinity"]
    (preferred,) = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert preferred["podAffinityTerm"]["labelSelector"] == {
        "matchLabels": {"app.kubernetes.io/name": "genlock-worker"}
    }


def test_a_silent_node_keeps_its_pods_only_for_a_while() -> None:
    tolerations = worker_pod(pool(), 0, replace(DEFAULTS, lost_after_s=20.0))["spec"]["tolerations"]
    silent = {one["key"]: one["tolerationSeconds"] for one in tolerations if "tolerationSeconds" in one}
    assert silent == {"node.kubernetes.io/not-ready": 20, "node.kubernetes.io/unreachable": 20}


def test_the_tolerations_of_the_template_come_on_top() -> None:
    taint = {"key": "team", "value": "studio", "effect": "NoSchedule"}
    tolerations = worker_pod(pool(template={"tolerations": [taint]}), 0, DEFAULTS)["spec"]["tolerations"]
    assert {"operator": "Equal", **taint} in tolerations
    assert {"key": "nvidia.com/gpu", "operator": "Exists"} in tolerations


def test_the_home_of_a_worker_is_where_it_may_write() -> None:
    manifest = worker_pod(pool(), 0, DEFAULTS)
    mounts = {mount["mountPath"] for mount in manifest["spec"]["containers"][0]["volumeMounts"]}
    assert environment(manifest)["HOME"] in mounts


def test_the_worker_understands_its_environment() -> None:
    manifest = worker_pod(pool(template={"media": "clips"}), 0, DEFAULTS)
    told = {name: value for name, value in environment(manifest).items() if isinstance(value, str)}
    told |= {"GENLOCK_WORKER_NAME": manifest["metadata"]["name"]}
    told["GENLOCK_WORKER_ADVERTISE"] = told["GENLOCK_WORKER_ADVERTISE"].replace("$(POD_IP)", "10.1.2.3")
    settings = parse_settings([], told)
    assert (settings.pool, settings.engine, settings.model) == ("studio/h100", "mock", "wan2.1-1.3b")
    assert (settings.gpu_product, settings.gpus, settings.capacity) == ("NVIDIA-H100", 4, 1_000)
    assert (settings.listen.port, settings.advertise and settings.advertise.host) == (7_000, "10.1.2.3")
    assert (settings.metrics_port, settings.log.format, settings.drain_timeout_s) == (9_090, "json", 60.0)
    assert str(settings.media_root) == "/media"


def test_every_variable_of_a_worker_is_one_of_its_options() -> None:
    names = list(environment(worker_pod(pool(template={"media": "clips"}), 0, DEFAULTS, MEASURED, TIMES)))
    known = {PROGRAM.variable(one.name) for one in options_of(WorkerSettings)}
    assert {name for name in names if name.startswith(PROGRAM.prefix)} <= known


def test_a_worker_is_told_what_was_measured_of_its_model_as_it_reads_it() -> None:
    text = environment(worker_pod(pool(), 0, DEFAULTS, MEASURED))["GENLOCK_WORKER_MEASURED_FPS"]
    assert text == '{"832x480":{"1":20.5,"2":17.97}}'
    assert parse_settings([], {"GENLOCK_WORKER_MEASURED_FPS": text}).measured_fps == MEASURED


def test_a_worker_is_told_what_forwards_take_as_it_reads_it() -> None:
    text = environment(worker_pod(pool(), 0, DEFAULTS, MEASURED, TIMES))["GENLOCK_WORKER_MEASURED_STEP_TIME"]
    assert parse_settings([], {"GENLOCK_WORKER_MEASURED_STEP_TIME": text}).measured_step_time == TIMES
    assert "GENLOCK_WORKER_MEASURED_STEP_TIME" not in environment(worker_pod(pool(), 0, DEFAULTS, MEASURED))


def test_where_nobody_measured_the_model_the_template_may_say_it() -> None:
    template = {"env": {"GENLOCK_WORKER_MEASURED_FPS": "{}"}}
    assert "GENLOCK_WORKER_MEASURED_FPS" not in environment(worker_pod(pool(), 0, DEFAULTS))
    assert environment(worker_pod(pool(template=template), 0, DEFAULTS))["GENLOCK_WORKER_MEASURED_FPS"] == "{}"


def test_another_measurement_replaces_no_worker() -> None:
    before, after = worker_pod(pool(), 0, DEFAULTS), worker_pod(pool(), 0, DEFAULTS, MEASURED, TIMES)
    assert before["metadata"] == after["metadata"]


def test_the_address_is_that_of_the_pod() -> None:
    variables = environment(worker_pod(pool(), 0, DEFAULTS))
    assert variables["POD_IP"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    assert list(variables).index("POD_IP") < list(variables).index("GENLOCK_WORKER_ADVERTISE")


def test_secrets_are_only_referred_to() -> None:
    defaults = replace(DEFAULTS, redis_secret=SecretKey("redis", "url"), redis_url="")
    variables = environment(worker_pod(pool(), 0, defaults))
    assert variables["GENLOCK_WORKER_REDIS"] == {"secretKeyRef": {"name": "redis", "key": "url"}}
    assert variables["GENLOCK_SECRETS"] == {"secretKeyRef": {"name": "genlock-secrets", "key": "secrets"}}


def test_the_template_adds_variables_but_does_not_replace_the_operators() -> None:
    template = {"env": {"GENLOCK_WORKER_LOG_LEVEL": "DEBUG", "GENLOCK_WORKER_POOL": "mine"}}
    variables = environment(worker_pod(pool(template=template), 0, DEFAULTS))
    assert variables["GENLOCK_WORKER_LOG_LEVEL"] == "DEBUG"
    assert variables["GENLOCK_WORKER_POOL"] == "studio/h100"


def test_weights_come_from_a_claim_or_from_an_image() -> None:
    def weights(source: dict[str, str]) -> Any:
        manifest = worker_pod(pool(template={"weights": source}), 0, DEFAULTS)
        assert {"name": "weights", "mountPath": "/models", "readOnly": True} in container(manifest)["volumeMounts"]
        assert {"name": "GENLOCK_WORKER_WEIGHTS", "value": "/models"} in container(manifest)["env"]
        return next(volume for volume in manifest["spec"]["volumes"] if volume["name"] == "weights")

    assert weights({"claim": "wan"})["persistentVolumeClaim"] == {"claimName": "wan", "readOnly": True}
    assert weights({"image": "registry/wan:1"})["image"]["reference"] == "registry/wan:1"


def test_every_mount_has_its_volume_and_memory_is_bounded() -> None:
    manifest = worker_pod(pool(template={"media": "clips", "weights": {"claim": "wan"}}), 0, DEFAULTS)
    assert {mount["name"] for mount in container(manifest)["volumeMounts"]} == volume_names(manifest)
    shm = next(volume for volume in manifest["spec"]["volumes"] if volume["name"] == "shm")
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}


def test_probes_ask_the_health_port() -> None:
    one = container(worker_pod(pool(), 0, DEFAULTS))
    ports = {port["name"]: port["containerPort"] for port in one["ports"]}
    asked = {probe: one[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe: get["path"] for probe, get in asked.items()} == {
        "startupProbe": "/readyz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert {ports[get["port"]] for get in asked.values()} == {DEFAULTS.health_port}


@pytest.mark.parametrize(("timeout", "drain_s"), [("10m", 60), ("20s", 20)])
def test_the_grace_period_leaves_time_for_the_drain(timeout: str, drain_s: int) -> None:
    manifest = worker_pod(pool(drain={"timeout": timeout}), 0, DEFAULTS)
    assert environment(manifest)["GENLOCK_WORKER_DRAIN_TIMEOUT"] == f"{drain_s}s"
    assert manifest["spec"]["terminationGracePeriodSeconds"] == drain_s + 15


def test_an_image_of_the_pool_comes_with_its_own_pull_policy() -> None:
    defaults = replace(DEFAULTS, image_pull_policy="Never")
    ours = container(worker_pod(pool(), 0, defaults))
    theirs = container(worker_pod(pool(template={"image": "mine:1", "imagePullPolicy": "Always"}), 0, defaults))
    assert (ours["image"], ours["imagePullPolicy"]) == ("worker:1", "Never")
    assert (theirs["image"], theirs["imagePullPolicy"]) == ("mine:1", "Always")


# -- the placeholder -------------------------------------------------------------------------------------------------


def test_a_placeholder_gives_way_at_once() -> None:
    spec = placeholder_pod(pool(), 0, DEFAULTS)["spec"]
    assert spec["terminationGracePeriodSeconds"] == 0
    assert spec["priorityClassName"] == "genlock-warm"


def test_a_placeholder_is_as_large_as_a_worker_and_runs_its_image() -> None:
    worker, placeholder = (container(make(pool(), 0, DEFAULTS)) for make in (worker_pod, placeholder_pod))
    assert placeholder["resources"] == worker["resources"]
    assert placeholder["image"] == worker["image"]
    assert "env" not in placeholder


def test_a_placeholder_is_no_worker_to_those_who_select_workers() -> None:
    labels = placeholder_pod(pool(), 0, DEFAULTS)["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] != "genlock-worker"
    assert labels["genlock.dev/role"] == "placeholder"
    assert "genlock.dev/state" not in labels


# -- the revision ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"template": {"image": "worker:2"}},
        {"template": {"env": {"A": "1"}}},
        {"model": "wan2.1-14b"},
        {"gpu": {"product": "NVIDIA-H100", "count": 8}},
    ],
)
def test_what_a_worker_would_notice_is_another_revision(change: dict[str, Any]) -> None:
    assert revision(pool(**change), DEFAULTS) != revision(pool(), DEFAULTS)


@pytest.mark.parametrize(
    "change",
    [
        {"replicas": 5},
        {"max": 3},
        {"drain": {"timeout": "1h"}},
        {"headroom": 2},
        {"template": {"imagePullPolicy": "Always"}},
        {"template": {"compute": {"cpu": "4", "memory": "16Gi"}}},
    ],
)
def test_what_a_worker_would_not_notice_is_none(change: dict[str, Any]) -> None:
    assert revision(pool(**change), DEFAULTS) == revision(pool(), DEFAULTS)


def test_the_operators_image_is_part_of_it_and_its_patience_is_not() -> None:
    assert revision(pool(), DEFAULTS) != revision(pool(), replace(DEFAULTS, image="worker:2"))
    assert revision(pool(), replace(DEFAULTS, lost_after_s=5.0)) == revision(pool(), DEFAULTS)


def test_a_pool_of_the_same_name_elsewhere_has_other_workers() -> None:
    one = pool()
    other = replace(one, meta=replace(one.meta, namespace="elsewhere", uid="uid-other"))
    assert pod_name("h100", revision(one, DEFAULTS), 0) != pod_name("h100", revision(other, DEFAULTS), 0)


@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True), st.integers(0, 9_999))
def test_names_fit_a_label(name: str, ordinal: int) -> None:
    one = resource_of(WorkerPoolSpec.model_validate(pool_spec().model_dump(by_alias=True, mode="json")))
    of_revision = revision(one, WorkerDefaults(image="worker:1"))
    assert len(pod_name(name, of_revision, ordinal)) <= 63


def test_naming_the_image_that_it_has_anyway_replaces_nobody() -> None:
    assert revision(pool(template={"image": DEFAULTS.image}), DEFAULTS) == revision(pool(), DEFAULTS)


def test_workers_decode_out_of_process_where_the_installation_says_so_unless_their_pool_says_otherwise() -> None:
    variable = "GENLOCK_WORKER_DECODE_PROCESS"
    told = replace(DEFAULTS, decode_process=True)
    assert variable not in environment(worker_pod(pool(), 0, DEFAULTS))
    assert environment(worker_pod(pool(), 0, told))[variable] == "yes"
    off = pool(template={"env": {variable: "no"}})
    assert environment(worker_pod(off, 0, told))[variable] == "no"
    for manifest, decodes in ((worker_pod(pool(), 0, told), True), (worker_pod(off, 0, told), False)):
        assert parse_settings([], {variable: environment(manifest)[variable]}).decode_process is decodes


def test_decoding_out_of_process_takes_other_workers_and_nothing_that_a_restricted_pod_has_not() -> None:
    told = replace(DEFAULTS, decode_process=True)
    assert revision(pool(), told) != revision(pool(), DEFAULTS)
    before, after = worker_pod(pool(), 0, DEFAULTS), worker_pod(pool(), 0, told)
    assert after["spec"]["volumes"] == before["spec"]["volumes"]
    assert after["spec"]["securityContext"] == before["spec"]["securityContext"]
    assert container(after)["securityContext"] == container(before)["securityContext"]


def test_a_stored_pools_worker_is_told_of_no_more_gpus_than_its_engine_computes_on() -> None:
    spec = {"engine": "diffusion", "gpu": {"product": "NVIDIA-H100", "count": 4}}
    manifest = worker_pod(pool(**spec), 0, DEFAULTS)
    assert environment(manifest)["GENLOCK_WORKER_GPUS"] == "1"
    assert container(manifest)["resources"]["limits"]["nvidia.com/gpu"] == "4"
