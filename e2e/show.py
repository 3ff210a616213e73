"""The stream that the tests break: a session, its publisher outside the cluster, and the watcher that never leaves."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from e2e import clip
from e2e.install import NAMESPACE, STUDIO
from e2e.kubectl import Cluster, Object, apply, condition, eventually, kubectl, status
from e2e.watcher import Watcher
from genlock_core.tokens import Keyring, Role

FRAME_RATE = 20
SIZE = 320
LIVE_WITHIN_S = 60.0
GATEWAYS = "app.kubernetes.io/name=genlock-gateway"


def session(name: str, *, namespace: str = STUDIO, **spec: Any) -> Object:
    """A StreamSession as one writes it."""
    return {
        "apiVersion": "genlock.dev/v1alpha1",
        "kind": "StreamSession",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


SHOW = session(
    "show",
    qualityMode="balanced",
    steps=1,
    # One GPU serves this at one step and not at four, by the published figures; and small pictures are cheap to paint.
    frameRate=FRAME_RATE,
    resolution={"width": SIZE, "height": SIZE},
    prompt="thick oil paint, impressionist",
    seed=7,
    access={"publish": "Token", "view": "Public"},
)


@dataclass(slots=True)
class Show:
    """A session that is live, as its owner sees it."""

    cluster: Cluster
    keyring: Keyring
    namespace: str
    name: str
    watcher: Watcher
    publisher: asyncio.subprocess.Process

    async def resource(self) -> Object:
        found = await self.cluster.session(self.namespace, self.name)
        assert found is not None, f"{self.namespace}/{self.name} is not there"
        return found

    async def view(self) -> Object:
        """The session as the gateway that has its publisher tells it."""
        return await view_of(self.cluster, self.namespace, self.name)

    async def live(self, *, after_epoch: int = 0) -> Object:
        """The gateway's view as soon as the stream is live (under a newer epoch), with its figures."""
        assert self.publisher.returncode is None, (
            f"`genlock publish` has ended, with status {self.publisher.returncode}"
        )
        return await eventually(
            self.view,
            lambda seen: (
                seen.get("phase") == "Live"
                and seen["epoch"] > after_epoch
                and (seen.get("stats") or {}).get("chunk", -1) >= 4
                and bool(seen["stats"].get("sinkDigest"))
            ),
            what="live, sinks complete",
            within_s=LIVE_WITHIN_S,
        )

    async def told(self, worker: str) -> Object:
        """The resource once its status names that worker and says Live: the operator has noticed."""
        return await eventually(
            self.resource,
            lambda seen: status(seen).get("worker") == worker and condition(seen, "Live")[0] == "True",
            what=f"status names {worker} and says Live",
        )

    async def patch(self, **spec: Any) -> None:
        """`kubectl patch` of the spec."""
        await kubectl(
            "patch", "ssn", self.name, "--namespace", self.namespace, "--type=merge", "-p", json.dumps({"spec": spec})
        )

    def token(self, role: Role) -> str:
        return self.keyring.token(f"{self.namespace}/{self.name}" if role is not Role.ADMIN else "*", role)


@asynccontextmanager
async def on_air(cluster: Cluster, keyring: Keyring, folder: Path, manifest: Object = SHOW) -> AsyncIterator[Show]:
    """Apply the session, publish into it from outside, watch it from outside; until the block ends."""
    namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
    await apply(manifest)
    assigned = await eventually(
        lambda: cluster.session(namespace, name),
        lambda seen: condition(seen, "Assigned")[0] == "True" and status(seen).get("endpoints"),
        what=f"{name} is assigned",
    )
    endpoints = status(assigned)["endpoints"]
    film = folder / "film.mp4"
    if not film.exists():
        await asyncio.to_thread(clip.make_clip, film, frame_rate=FRAME_RATE)
    async with AsyncExitStack() as stack:
        token = keyring.token(f"{namespace}/{name}", Role.PUBLISH)
        publisher = await stack.enter_async_context(
            publishing(film, f"{namespace}/{name}", gateway=endpoints["whip"].split("/whip/")[0], token=token)
        )
        watcher = await stack.enter_async_context(Watcher.watching(endpoints["whep"], numbered=clip.FRAMES))
        yield Show(cluster, keyring, namespace, name, watcher, publisher)


@asynccontextmanager
async def publishing(film: Path, name: str, *, gateway: str, token: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`genlock publish` as its own process, which comes back by itself when a gateway goes."""
    command = (sys.executable, "-m", "genlock_cli.main", "publish", str(film), name, "--loop")
    options = ("--fps", str(FRAME_RATE), "--bitrate", "800", "--gateway", gateway, "--token", token, "--json")
    log = film.with_name(f"publish-{name.replace('/', '-')}.log").open("wb")
    with log:
        process = await asyncio.create_subprocess_exec(*command, *options, stdout=log, stderr=log)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def view_of(cluster: Cluster, namespace: str, name: str) -> Object:
    """A session as the gateways tell it: that of the publisher's gateway, else of one that has viewers, else of any; {}
    where none has it."""
    best: Object = {}
    for pod in await cluster.pods(NAMESPACE, GATEWAYS):
        address = pod["status"].get("podIP")
        if not address or "deletionTimestamp" in pod["metadata"]:
            continue
        try:
            async with httpx.AsyncClient(timeout=5.0) as http:
                answer = await http.get(f"http://{address}:8080/api/v1/sessions/{namespace}/{name}")
        except httpx.TransportError:
            continue
        if answer.is_success:
            seen = dict(answer.json())
            if not best or _knows(seen) > _knows(best):
                best = seen
    return best


def _knows(seen: Object) -> tuple[bool, bool]:
    """How much a gateway knows of the stream, in order."""
    return bool(seen["publisher"]), seen.get("stats") is not None
