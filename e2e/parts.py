"""The installation's parts: which pods they are, when they are ready, and how one dies."""

from e2e.install import NAMESPACE, STUDIO
from e2e.kubectl import Cluster, Object, condition, eventually, kubectl, status
from e2e.show import Show

GATEWAYS = "app.kubernetes.io/name=genlock-gateway"
OPERATORS = "app.kubernetes.io/name=genlock-operator"
REDIS = "app.kubernetes.io/name=genlock-redis"
WORKERS = "app.kubernetes.io/name=genlock-worker"
POOL_LABEL, STATE_LABEL = "genlock.dev/pool", "genlock.dev/state"
NODE_CONTROLLER = "system:serviceaccount:kube-system:pod-garbage-collector"
"""Who deletes pods of lost nodes: the policy that protects live pods must let it, and so tests can kill them."""


def is_ready(pod: Object) -> bool:
    """Ready, and not on its way out."""
    return "deletionTimestamp" not in pod["metadata"] and condition(pod, "Ready")[0] == "True"


async def warm_spare(cluster: Cluster, pool: str = "h100x1") -> None:
    """The pool has an empty worker that is ready, and nobody leaves it."""
    await eventually(
        lambda: cluster.pool(NAMESPACE, pool),
        lambda seen: status(seen).get("ready", 0) > status(seen).get("serving", 0) and not status(seen).get("draining"),
        what=f"a warm worker in {pool}",
        within_s=90.0,
    )


async def as_many_as_wanted(cluster: Cluster, pool: str) -> None:
    """The pool has as many workers as it wants, all ready, and nobody leaves it."""

    def has_all(seen: Object | None) -> bool:
        said = status(seen)
        return said.get("replicas") == said.get("ready") == said.get("desired") and not said.get("draining")

    await eventually(
        lambda: cluster.pool(NAMESPACE, pool), has_all, what=f"as many workers in {pool} as it wants", within_s=150.0
    )


async def deployed(cluster: Cluster, name: str, count: int) -> None:
    """All the pods of a Deployment are ready, and of its newest kind."""
    await eventually(
        lambda: cluster.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}"),
        lambda seen: (
            status(seen).get("readyReplicas") == count
            and status(seen).get("replicas") == count
            and status(seen).get("updatedReplicas") == count
        ),
        what=f"{name} ready",
        within_s=120.0,
    )


async def assigned(cluster: Cluster, name: str, *, within_s: float = 30.0) -> Object:
    """A session's status as soon as a worker owns it."""
    found = await eventually(
        lambda: cluster.session(STUDIO, name),
        lambda seen: condition(seen, "Assigned")[0] == "True",
        what=f"{name} is assigned",
        within_s=within_s,
    )
    return status(found)


async def kill(*pods: str) -> None:
    """Pods vanish at once, as when their node is given up."""
    force = ("--force", "--grace-period=0", "--wait=false")
    await kubectl("delete", "pod", "--namespace", NAMESPACE, *pods, *force, "--as", NODE_CONTROLLER)


async def recovered(show: Show, before: Object) -> Object:
    """The stream on another worker, with the same sinks."""
    after = await show.live(after_epoch=before["epoch"])
    assert after["worker"] != before["worker"]
    assert after["stats"]["sinkDigest"] == before["stats"]["sinkDigest"]
    return after
