"""Everything goes, in the wrong order too, and nothing hangs. These tests end the installation: they come last."""

import time

import pytest

from e2e import install
from e2e.install import NAMESPACE, RELEASE, STUDIO
from e2e.kubectl import Cluster, apply, condition, eventually, helm, kubectl, status
from e2e.parts import STATE_LABEL, WORKERS, assigned
from e2e.seen import say
from e2e.show import Show, session, view_of
from e2e.surroundings import Surroundings


async def test_the_watcher_saw_no_cut_in_all_this_time(show: Show, request: pytest.FixtureRequest) -> None:
    """But for the moment when all gateways were killed at once."""
    say(request, str(show.watcher.total))
    assert not show.watcher.total.cuts


async def test_a_deleted_session_leaves_nothing_behind(cluster: Cluster, show: Show) -> None:
    worker = (await show.live())["worker"]
    show.watcher.rest()
    with show.watcher.excused():
        await kubectl("delete", "ssn", show.name, "--namespace", STUDIO, "--timeout=30s")
        await eventually(
            lambda: view_of(cluster, STUDIO, show.name), lambda seen: not seen, what="no gateway knows it any more"
        )
        await eventually(
            lambda: cluster.pods(NAMESPACE, WORKERS),
            lambda pods: (
                not any(
                    pod["metadata"]["name"] == worker and pod["metadata"]["labels"].get(STATE_LABEL) == "Serving"
                    for pod in pods
                )
            ),
            what=f"{worker} serves no more",
        )


async def test_a_deleted_pool_takes_its_workers_along(cluster: Cluster, request: pytest.FixtureRequest) -> None:
    began = time.monotonic()
    await kubectl("delete", "wpl", "h100x2", "--namespace", NAMESPACE, "--timeout=60s")
    await eventually(
        lambda: cluster.pods(NAMESPACE, f"{WORKERS},genlock.dev/pool=h100x2"),
        lambda pods: not pods,
        what="its workers are gone",
        within_s=90.0,
    )
    say(request, f"{time.monotonic() - began:.1f} s")


async def test_helm_uninstall_with_a_session_that_is_assigned(cluster: Cluster, request: pytest.FixtureRequest) -> None:
    await apply(session("last", qualityMode="low-latency", frameRate=12))
    await assigned(cluster, "last")
    began = time.monotonic()
    await helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout=2m", timeout_s=150)
    say(request, f"helm uninstall {time.monotonic() - began:.1f} s")
    await eventually(
        lambda: cluster.pods(NAMESPACE, WORKERS), lambda pods: not pods, what="no worker is left", within_s=60
    )
    await kubectl("delete", "ssn", "--all", "--namespace", STUDIO, "--timeout=30s")


async def test_the_namespaces_are_deleted_when_the_operator_has_gone(
    cluster: Cluster, surroundings: Surroundings, request: pytest.FixtureRequest
) -> None:
    await install.install(surroundings)
    await apply(session("orphan", qualityMode="low-latency", frameRate=12))
    await assigned(cluster, "orphan", within_s=90)
    await kubectl("delete", "deployment", "genlock-operator", "--namespace", NAMESPACE, "--timeout=60s")
    await eventually(
        lambda: cluster.pods(NAMESPACE, "app.kubernetes.io/name=genlock-operator"),
        lambda pods: not pods,
        what="no operator",
    )
    assert condition(await cluster.session(STUDIO, "orphan"), "Assigned")[0] == "True"
    began = time.monotonic()
    await kubectl("delete", "namespace", STUDIO, NAMESPACE, "--timeout=120s", timeout_s=130)
    say(request, f"both namespaces gone after {time.monotonic() - began:.1f} s")
    assert not status(await cluster.get(f"/api/v1/namespaces/{NAMESPACE}"))
