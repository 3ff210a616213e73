"""From JSON to facts: what a pod's conditions mean, which nodes leave, and that no object takes the operator down."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_operator.observed import PodFacts
from genlock_operator.plan.policy import (
    DRAIN_ANNOTATION,
    DRAINING_SINCE_ANNOTATION,
    KEEP_ANNOTATIONS,
    MEASURED_VARIABLE,
    POOL_LABEL,
    REVISION_LABEL,
    ROLE_LABEL,
    STATE_LABEL,
)
from genlock_operator.plan.session.facts import stored_status
from genlock_operator.reconcile.session import read
from genlock_operator.watch import facts

META: dict[str, Any] = {"namespace": "studio", "name": "demo", "uid": "uid-1", "resourceVersion": "7"}
LABELS = {POOL_LABEL: "warm", ROLE_LABEL: "worker", REVISION_LABEL: "abc", STATE_LABEL: "Serving"}
TIME, TIME_MS = "2026-01-02T03:04:05Z", 1_767_323_045_000


def pod(status: dict[str, Any] | None = None, **metadata: Any) -> PodFacts:
    found = facts.pod_of({"metadata": {**META, "labels": LABELS, **metadata}, "status": status or {}})
    assert found is not None
    return found


def condition(kind: str, status: str, **more: str) -> dict[str, str]:
    return {"type": kind, "status": status, "lastTransitionTime": TIME, **more}


def container(**state: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "worker", "restartCount": 2, "state": state}]}


# -- pods --------------------------------------------------------------------------------------------------------------


def test_a_pod_is_its_pools_by_labels_and_says_what_it_is() -> None:
    found = pod()
    assert (found.pool, found.role, found.revision, found.state) == ("studio/warm", "worker", "abc", "Serving")


@pytest.mark.parametrize("labels", [None, {}, {POOL_LABEL: "warm"}, {**LABELS, ROLE_LABEL: "somebody's"}])
def test_a_pod_without_our_labels_is_none_of_ours(labels: dict[str, str] | None) -> None:
    assert facts.pod_of({"metadata": {**META, "labels": labels}}) is None


def test_a_pod_tells_when_it_reached_each_step() -> None:
    reached = {"conditions": [condition("PodScheduled", "True"), condition("Ready", "True")]}
    found = pod({**reached, **container(running={"startedAt": TIME})})
    assert (found.scheduled_ms, found.started_ms, found.ready_ms) == (TIME_MS, TIME_MS, TIME_MS)
    assert found.ready


def test_a_pod_that_was_ready_once_has_not_reached_it_now() -> None:
    found = pod({"conditions": [condition("Ready", "False")]})
    assert (found.ready, found.ready_ms) == (False, 0)


def test_a_pod_that_no_node_takes_says_what_the_scheduler_said() -> None:
    said = condition("PodScheduled", "False", reason="Unschedulable", message="0/3 nodes: Insufficient gpu")
    assert pod({"conditions": [said]}).unschedulable == "0/3 nodes: Insufficient gpu"


def test_a_pod_that_waits_for_its_gates_is_not_unschedulable() -> None:
    assert pod({"conditions": [condition("PodScheduled", "False", reason="SchedulingGated")]}).unschedulable == ""


def test_a_pod_says_what_it_was_told_of_its_models_speed() -> None:
    told = {"name": MEASURED_VARIABLE, "value": '{"832x480":{"1":20}}'}
    for containers, text in (([{"env": [{"name": "HOME"}, told]}], told["value"]), ([{"env": []}], ""), ([], "")):
        body = {"metadata": {**META, "labels": LABELS}, "spec": {"containers": containers}}
        found = facts.pod_of(body)
        assert found is not None
        assert found.told == text


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing"])
def test_a_container_that_is_only_starting_does_not_fail(reason: str) -> None:
    assert pod(container(waiting={"reason": reason})).failing == ""


@pytest.mark.parametrize(
    ("state", "failing"),
    [
        ({"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}, "ImagePullBackOff: no such tag"),
        ({"waiting": {"reason": "CrashLoopBackOff"}}, "CrashLoopBackOff"),
        ({"terminated": {"reason": "OOMKilled", "exitCode": 137}}, "OOMKilled: exit code 137"),
        ({"terminated": {"exitCode": 1}}, "Failed: exit code 1"),
        ({"running": {"startedAt": TIME}}, ""),
    ],
)
def test_a_container_that_does_not_run_says_why(state: dict[str, Any], failing: str) -> None:
    assert pod(container(**state)).failing == failing


def test_a_pod_that_the_kubelet_refused_fails_without_a_container() -> None:
    found = pod({"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no GPU is left"})
    assert found.failing == "UnexpectedAdmissionError: no GPU is left"


def test_a_persons_annotations_ask_for_a_drain_and_ours_say_since_when() -> None:
    found = pod(annotations={DRAIN_ANNOTATION: "", DRAINING_SINCE_ANNOTATION: TIME})
    assert (found.drain_asked, found.draining_since_ms) == (True, TIME_MS)


def test_a_pod_is_protected_by_all_of_the_annotations_or_not_at_all() -> None:
    some = dict(list(KEEP_ANNOTATIONS.items())[:1])
    assert [pod(annotations=one).protected for one in (KEEP_ANNOTATIONS, some, {})] == [True, False, False]


@pytest.mark.parametrize(
    "text", ["", "yesterday", "0001-01-01", "9999-12-31T23:59:59", "2026-13-01T00:00:00Z", None, 5]
)
def test_a_time_that_is_none_is_0_and_any_other_a_number(text: Any) -> None:
    assert isinstance(facts.milliseconds(text), int)


# -- nodes -------------------------------------------------------------------------------------------------------------


def node(spec: dict[str, Any]) -> Any:
    status = {"conditions": [condition("MemoryPressure", "False"), condition("Ready", "True")]}
    return facts.node_of({"metadata": {"name": "a"}, "spec": spec, "status": status})


def test_a_node_that_stays_says_nothing() -> None:
    taints = [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}, {"key": "node.kubernetes.io/not-ready"}]
    assert node({"taints": taints}).leaving == ""


def test_a_cordoned_node_leaves() -> None:
    assert node({"unschedulable": True}).leaving == "it is cordoned"


@pytest.mark.parametrize("key", sorted(facts.LEAVING_TAINTS))
def test_a_node_that_an_autoscaler_takes_away_leaves(key: str) -> None:
    assert key in node({"taints": [{"key": "other"}, {"key": key, "effect": "NoSchedule"}]}).leaving


# -- anything ----------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
POOL_FIELDS = st.sampled_from(["model", "engine", "gpu", "replicas", "min", "max", "template", "drain", "scaleInAfter"])
STATUS_FIELDS = st.sampled_from(["phase", "conditions", "figures", "epoch", "worker", "replicas", "finished"])
OBJECT = st.dictionaries(TEXT | POOL_FIELDS | STATUS_FIELDS, ANY, max_size=6)
"""A spec or status that a laxer schema let in: the API server keeps them objects."""


@given(spec=st.none() | OBJECT, status=st.none() | OBJECT)
def test_any_session_is_kept_and_what_is_wrong_with_it_is_said(spec: Any, status: Any) -> None:
    resource = facts.session_of({"metadata": META, "spec": spec, "status": status})
    stored_status(resource)
    session, mistakes = read(resource)
    assert (session is None) == bool(mistakes)


@given(spec=st.none() | OBJECT, status=st.none() | OBJECT)
def test_any_pool_is_read_or_says_what_is_wrong_with_it(spec: Any, status: Any) -> None:
    assert mistakes_of(lambda: facts.pool_of({"metadata": META, "spec": spec, "status": status})) != ()


@given(spec=st.none() | OBJECT | st.fixed_dictionaries({"rows": ANY}))
def test_any_profile_is_read_or_says_what_is_wrong_with_it(spec: Any) -> None:
    assert mistakes_of(lambda: facts.rows_of({"metadata": META, "spec": spec})) != ()


def mistakes_of(look: Callable[[], object]) -> tuple[str, ...] | None:
    """What Unreadable says, None if it can be read."""
    try:
        look()
    except facts.Unreadable as error:
        return error.mistakes
    return None


OPTIONAL_TEXT = st.none() | TEXT | st.just(TIME)
CONDITION = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["PodScheduled", "Ready", "Other"]),
        "status": st.sampled_from(["True", "False", "Unknown"]),
    },
    optional={"lastTransitionTime": OPTIONAL_TEXT, "reason": OPTIONAL_TEXT, "message": OPTIONAL_TEXT},
)
STATE = st.fixed_dictionaries(
    {},
    optional={"reason": OPTIONAL_TEXT, "message": OPTIONAL_TEXT, "exitCode": st.integers(), "startedAt": OPTIONAL_TEXT},
)
CONTAINER = st.fixed_dictionaries(
    {"name": TEXT},
    optional={
        "restartCount": st.integers(0, 100),
        "state": st.none() | st.dictionaries(st.sampled_from(["waiting", "running", "terminated"]), st.none() | STATE),
    },
)
POD_STATUS = st.fixed_dictionaries(
    {},
    optional={
        "phase": st.sampled_from(["", "Pending", "Running", "Failed", "Succeeded"]),
        "conditions": st.none() | st.lists(CONDITION, max_size=4),
        "containerStatuses": st.none() | st.lists(CONTAINER, max_size=2),
        "reason": TEXT,
        "message": TEXT,
    },
)
ANNOTATIONS = st.dictionaries(st.sampled_from([DRAIN_ANNOTATION, DRAINING_SINCE_ANNOTATION, "x"]), TEXT | st.just(TIME))


@given(status=st.none() | POD_STATUS, annotations=st.none() | ANNOTATIONS, spec=st.none() | st.just({"nodeName": "a"}))
def test_any_pod_of_ours_is_read(status: Any, annotations: Any, spec: Any) -> None:
    body = {"metadata": {**META, "labels": LABELS, "annotations": annotations}, "spec": spec, "status": status}
    found = facts.pod_of(body)
    assert found is not None
    assert found.node == ("a" if spec else "")


@given(
    status=st.none() | st.fixed_dictionaries({}, optional={"conditions": st.none() | st.lists(CONDITION, max_size=3)}),
    taints=st.none() | st.lists(st.fixed_dictionaries({"key": TEXT | st.sampled_from(sorted(facts.LEAVING_TAINTS))})),
)
def test_any_node_is_read(status: Any, taints: Any) -> None:
    found = facts.node_of({"metadata": {"name": "a"}, "spec": {"taints": taints}, "status": status})
    assert bool(found.leaving) == any(taint["key"] in facts.LEAVING_TAINTS for taint in taints or ())
