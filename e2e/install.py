"""Images into the cluster, and the chart into its namespace, as a platform team would.

The gateways get a NodePort in front, which stands for the load balancer that a test cluster lacks: so the URLs in a
session's status work for clients outside.
"""

import asyncio
import json
import os
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2e.kubectl import CommandFailed, apply, helm, kubectl, run
from e2e.surroundings import CLUSTER, ROOT, Surroundings

RELEASE = "genlock"
NAMESPACE = "genlock-system"
STUDIO = "studio"
"""Where the sessions are."""
REPOSITORY = "localhost/genlock"
TAG, NEXT_TAG = "e2e", "e2e-next"
"""The worker is there under both tags: a roll-out to the second one changes nothing but the name."""
FRONT_PORT = 30_880
CHART = ROOT / "charts" / "genlock"
VALUES = ROOT / "e2e" / "values.yaml"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def say(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} e2e: {message}", flush=True)


async def images(surroundings: Surroundings) -> None:
    """Build them and bring them to the nodes."""
    began = time.monotonic()
    engine = surroundings.engine
    names = [f"{REPOSITORY}/{component}:{TAG}" for component in ("operator", "gateway", "worker")]
    if engine == "podman":
        await run(f"{CLUSTER}/base-image", "python", "redis", timeout_s=600)
    await run(f"{ROOT}/images/build", "--engine", engine, "--tag", TAG, timeout_s=1_200)
    await run(engine, "tag", f"{REPOSITORY}/worker:{TAG}", f"{REPOSITORY}/worker:{NEXT_TAG}")
    say(f"images built in {time.monotonic() - began:.0f} s")
    began = time.monotonic()
    names.append(f"{REPOSITORY}/worker:{NEXT_TAG}")
    await run(*surroundings.load, *names, timeout_s=600)
    every = ("--all",) if surroundings.own else ()
    if engine == "podman":  # elsewhere the nodes get it from its registry
        await run(*surroundings.load, *every, "localhost/redis:7", timeout_s=600)
    say(f"images on the nodes in {time.monotonic() - began:.0f} s")


async def install(surroundings: Surroundings) -> None:
    """A fresh installation: what an earlier run left behind is removed first."""
    began = time.monotonic()
    await remove()
    for name in (NAMESPACE, STUDIO):
        await apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})
    await apply(_front())
    await helm("install", RELEASE, str(CHART), *await helm_options(surroundings), "--wait", "--timeout=3m")
    say(f"chart installed in {time.monotonic() - began:.0f} s")


async def helm_options(surroundings: Surroundings, *settings: str) -> list[str]:
    """What `helm install` and `helm upgrade` are told, and what a test sets besides (`name=value`)."""
    given = [f"image.repository={REPOSITORY}", f"image.tag={TAG}", f"gateway.publicUrl={await front_url()}"]
    if surroundings.engine == "podman":
        given += ["redis.image=localhost/redis:7"]
    options = ["--namespace", NAMESPACE, "--values", str(VALUES), *shlex.split(os.environ.get("GENLOCK_E2E_HELM", ""))]
    for one in (*given, *settings):
        options += ["--set", one]
    return options


async def front_url() -> str:
    """The gateways as clients outside reach them: a node's port."""
    node = await kubectl(
        "get", "nodes", "-l", "node-role.kubernetes.io/control-plane",
        "-o", "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}",
    )  # fmt: skip
    return f"http://{node}:{FRONT_PORT}"


async def remove() -> None:
    """What an earlier run left of this installation; others in the cluster are none of our business."""
    if RELEASE in (await helm("list", "--namespace", NAMESPACE, "--all", "--short")).split():
        await helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout=2m")
    await kubectl("delete", "namespace", NAMESPACE, STUDIO, "--ignore-not-found", "--timeout=120s", timeout_s=150)
    # helm installs definitions where there are none, and never changes them.
    if (await kubectl("get", "crd", "--output", "name")).count("genlock.dev"):
        await kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CHART / "crds"))


def _front() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "front", "namespace": NAMESPACE},
        "spec": {
            "type": "NodePort",
            "selector": {"app.kubernetes.io/name": "genlock-gateway", "app.kubernetes.io/instance": RELEASE},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": FRONT_PORT}],
        },
    }


async def evidence() -> dict[str, str]:
    """What somebody who looks into a failure wants to see, by file name."""
    every = ("--all-namespaces",)
    wanted: dict[str, tuple[str, ...]] = {
        "sessions.yaml": ("get", "ssn", *every, "-o", "yaml"),
        "pools.yaml": ("get", "wpl", *every, "-o", "yaml"),
        "pods.txt": ("get", "pods,nodes,pdb,leases", *every, "-o", "wide"),
        "events.txt": ("get", "events", *every, "--sort-by=.metadata.creationTimestamp"),
        "describe.txt": ("describe", "ssn,wpl,pods", "--namespace", NAMESPACE),
        "describe-studio.txt": ("describe", "ssn", "--namespace", STUDIO),
    }
    for pod in json.loads(await kubectl("get", "pods", "--namespace", NAMESPACE, "-o", "json"))["items"]:
        name = pod["metadata"]["name"]
        logs = ("logs", "--namespace", NAMESPACE, name, "--all-containers", "--tail=3000")
        wanted[f"{name}.log"] = logs
        if any(one.get("restartCount") for one in pod["status"].get("containerStatuses", [])):
            wanted[f"{name}.before.log"] = (*logs, "--previous")
    texts = await asyncio.gather(*(_said(*command) for command in wanted.values()))
    return dict(zip(wanted, texts, strict=True))


def keep(folder: Path, files: Mapping[str, str]) -> None:
    """Write evidence down."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


async def _said(*arguments: str) -> str:
    try:
        return await kubectl(*arguments)
    except CommandFailed as error:
        return f"{error}\n"
