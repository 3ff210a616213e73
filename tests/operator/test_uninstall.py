"""Uninstalling: what goes first, that it ends when all is gone, and that it ends when something is not."""

import asyncio

import pytest

from genlock_operator.kube.api import PODS, STREAM_SESSIONS, WORKER_POOLS, Body, Resource
from genlock_operator.kube.errors import NotFound, RequestRefused, Unavailable
from genlock_operator.uninstall import POLICY_BINDINGS, Installation, clean, parse_settings, run

HERE = Installation(("live",), "genlock.live")


class Cluster:
    """What an uninstall sees of a cluster: names, and that a pod goes a look after its pool."""

    def __init__(self, **objects: list[str]) -> None:
        self.objects = {plural: dict.fromkeys(names, "uid") for plural, names in objects.items()}
        self.deleted: list[str] = []
        self.faults: list[Exception] = []
        self.pods_stay = False

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Body:
        if name not in self.objects.get(resource.plural, {}):
            raise NotFound(name, code=404, message="not found")
        return {"metadata": {"name": name, "uid": "uid"}}

    async def list_names(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        labels: str = "",
    ) -> dict[str, str]:
        if self.faults:
            raise self.faults.pop()
        found = {
            key: uid
            for key, uid in self.objects.get(resource.plural, {}).items()
            if namespace in (None, key.split("/")[0])
        }
        if resource == PODS and not self.pods_stay and not self.objects.get(WORKER_POOLS.plural):
            self.objects[PODS.plural] = {}
        return found

    async def delete(self, resource: Resource, namespace: str | None, name: str, *, uid: str) -> None:
        key = name if namespace is None else f"{namespace}/{name}"
        del self.objects[resource.plural][key]
        self.deleted.append(f"{resource.plural} {key}")


def installed() -> Cluster:
    return Cluster(
        **{
            POLICY_BINDINGS.plural: ["genlock.live", "somebody.elses"],
            STREAM_SESSIONS.plural: ["live/a", "other/b"],
            WORKER_POOLS.plural: ["live/pool"],
            PODS.plural: ["live/pool-abc-0"],
        }
    )


async def test_the_policy_goes_first_then_sessions_then_pools_and_only_ours() -> None:
    cluster = installed()
    await clean(cluster, HERE, every_s=0)
    assert cluster.deleted == [
        "validatingadmissionpolicybindings genlock.live",
        "streamsessions live/a",
        "workerpools live/pool",
    ]


async def test_it_waits_until_the_workers_are_gone() -> None:
    cluster = installed()
    await clean(cluster, HERE, every_s=0)
    assert cluster.objects[PODS.plural] == {}


async def test_everything_means_every_namespace() -> None:
    cluster = installed()
    await clean(cluster, Installation((None,)), every_s=0)
    assert cluster.objects[STREAM_SESSIONS.plural] == {}
    assert set(cluster.objects[POLICY_BINDINGS.plural]) == {"genlock.live", "somebody.elses"}


@pytest.mark.parametrize("kind", [Unavailable, RequestRefused])
async def test_an_api_server_that_says_no_is_asked_again(kind: type[RequestRefused] | type[Unavailable]) -> None:
    cluster = installed()
    cluster.faults = [kind("list", code=503, message="no")]
    await clean(cluster, HERE, every_s=0)
    assert "workerpools live/pool" in cluster.deleted


async def test_nothing_to_do_is_done_at_once() -> None:
    cluster = Cluster()
    assert await run(cluster, HERE, timeout_s=60)
    assert cluster.deleted == []


async def test_an_uninstall_is_not_held_up_by_a_pod_that_stays() -> None:
    cluster = installed()
    cluster.pods_stay = True
    assert not await asyncio.wait_for(run(cluster, HERE, timeout_s=0.05), 30)
    assert cluster.objects[WORKER_POOLS.plural] == {}


def test_its_options() -> None:
    some = parse_settings(["--namespaces=a,b", "--policy-binding=x", "--timeout=5s"], {})
    assert (some.installation, some.timeout_s) == (Installation(("a", "b"), "x"), 5.0)
    assert parse_settings(["--all-namespaces"], {}).installation == Installation((None,))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--namespaces (GENLOCK_UNINSTALL_NAMESPACES) and --all-namespaces (GENLOCK_UNINSTALL_ALL_NAMESPACES)"),
        (["--all-namespaces", "--namespaces", "a"], "give one of them"),
        (["--namespaces", "A"], "must be the name of a namespace"),
        (["--all-namespaces", "--timeout", "soon"], "--timeout (GENLOCK_UNINSTALL_TIMEOUT) must be a duration"),
    ],
)
def test_a_mistake_in_its_options_is_one_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_settings(arguments, {})
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_the_charts_before_gave_it_a_plain_number_of_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_settings(["--all-namespaces", "--timeout-s=120"], {}).timeout_s == 120.0
    assert "write --timeout 2m" in capsys.readouterr().err
