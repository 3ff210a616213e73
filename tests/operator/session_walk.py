"""The files that somebody who follows a StreamSession from a watch's event to phase Live has to open, one after the
other: `python -m tests.operator.session_walk`.

One operator on a real Redis and a played API server, one worker with the mock engine, one gateway as far as the link
goes. A file is on the walk if it is on the call stack at a moment at which the session comes one step nearer to Live:
its key is queued, an action on its stream is chosen, its record is written, the worker makes its live session. Only
these moments are named (`STEPS`, `CHOSEN`), nothing of the way between them.
"""

import asyncio
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, cast

import kopf
import pytest
from kubernetes.aio.client import Configuration

import genlock_core
import genlock_operator
import genlock_worker
import tests.worker.house
from genlock_cli.redis_server import RedisProcess
from genlock_core import store as stores
from genlock_core.clock import SystemClock
from genlock_operator.kube.api import Body, KubeApi, Resource
from genlock_operator.operator import Operator
from genlock_operator.settings import parse_settings
from genlock_operator.watch import facts
from genlock_operator.watch.caches import Profile
from tests.worker.gateway import FakeGateway
from tests.worker.house import House

ROOT = Path(__file__).parents[2]
PARTS = ("core", "operator", "worker")
STEPS = {
    "core/genlock_core/claims/claims.py": ("create", "claim", "set_phase"),
    "operator/genlock_operator/reconcile/queue.py": ("add",),
    "worker/genlock_worker/session/live_session.py": ("__init__", "open"),
}
CHOSEN = ("StoreRecord", "ClaimWorker")
NAME = "studio/demo"
POOL = "studio/warm"
POLL_S = 0.05


class Disturbed(Exception):
    """Somebody took the profile function away."""


class Walk:
    """A profile function; `files` are those on the stack at the steps, in the order in which they are met."""

    def __init__(self) -> None:
        self.files: dict[str, None] = {}

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        try:
            if event == "call" and is_step(frame):
                self._note(frame)
        except BaseException:
            # The interpreter forgets the function for it, and whoever was called may keep the error to himself.
            traceback.print_exc()
            raise

    def _note(self, frame: FrameType) -> None:
        stack: list[str] = []
        above: FrameType | None = frame
        while above is not None:
            stack.append(file_of(above))
            above = above.f_back
        self.files |= dict.fromkeys(file for file in reversed(stack) if file)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Raises Disturbed."""
        before = sys.getprofile()
        sys.setprofile(self)
        try:
            yield
            if sys.getprofile() is not self:
                raise Disturbed(f"somebody took the profile function away: {sys.getprofile()}")
        finally:
            sys.setprofile(before)


def is_step(frame: FrameType) -> bool:
    name = frame.f_code.co_name
    if name == "__init__" and type(frame.f_locals.get("self")).__name__ in CHOSEN:
        return True
    return name in STEPS.get(file_of(frame), ())


def file_of(frame: FrameType) -> str:
    """The file of the product, below the repository; "" for any other."""
    path = Path(frame.f_code.co_filename)
    inside = path.relative_to(ROOT) if path.is_relative_to(ROOT) else Path()
    return str(inside) if inside.parts and inside.parts[0] in PARTS else ""


def outside(module: ModuleType) -> str:
    """Where the module lies, if that is not below the repository; else ""."""
    path = Path(str(module.__file__))
    return "" if path.is_relative_to(ROOT) else str(path)


class PlayedApi:
    """An API server that takes every status and answers it."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._version = 1

    async def patch_status(self, _resource: Resource, _namespace: str, _name: str, body: Mapping[str, Any]) -> Body:
        self._version += 1
        metadata = {**self._body["metadata"], "resourceVersion": f"{self._version}"}
        self._body = {**self._body, "metadata": metadata, "status": body["status"]}
        return self._body


def metadata(name: str) -> Body:
    return {
        "namespace": "studio",
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }


def session() -> Body:
    spec = {"source": {"type": "testPattern"}, "resolution": {"width": 128, "height": 96}, "steps": 2}
    return {"metadata": metadata("demo"), "spec": spec}


def fill(operator: Operator) -> None:
    """A pool that makes no pods, and what was measured of its model."""
    gpu = {"product": "NVIDIA-H100", "count": 4}
    spec = {"model": "wan2.1-1.3b", "engine": "mock", "gpu": gpu, "replicas": 0, "max": 0}
    operator.caches.pools.put(facts.pool_of({"metadata": metadata("warm"), "spec": spec}))
    row = {
        "resolution": {"width": 832, "height": 480},
        "steps": 2,
        "gpuProduct": gpu["product"],
        "gpus": gpu["count"],
        "fpsPerSession": 32.0,
        "source": "a walk",
    }
    profile = {"metadata": metadata("wan2.1-1.3b"), "spec": {"rows": [row]}}
    operator.caches.profiles.put(Profile(facts.meta_of(profile), facts.rows_of(profile)))


def watch_handler(operator: Operator, configuration: Configuration) -> Any:
    """What kopf calls with each event of a StreamSession."""
    registry = kopf.OperatorRegistry()
    operator.watcher._register(registry, configuration)
    (handler,) = (one for one in registry._watching.get_all_handlers() if "streamsessions" in str(one.id))
    return handler.fn


async def walk(redis_url: str) -> list[str]:
    """Bring everything up, let one session come to phase Live; the files on its way."""
    configuration = Configuration()
    store = stores.connect(redis_url)
    options = ["--redis", redis_url, "--namespaces", "studio", "--worker-image", "worker:1"]
    operator = Operator(parse_settings(options, {}), configuration=configuration, store=store, clock=SystemClock())
    operator.executor.may_act = lambda: True
    operator.executor.api = cast("KubeApi", PlayedApi(session()))
    operator.watcher.synced.set()
    fill(operator)
    handle = watch_handler(operator, configuration)

    house = House(redis_url)
    gateway = FakeGateway()
    reconciling: asyncio.Task[None] | None = None
    followed = Walk()
    try:
        await start_worker(house)
        await operator.store_watch.read_workers()
        with followed.following():
            reconciling = asyncio.create_task(operator.loop.run())
            await handle(body=session(), type="ADDED")
            while (record := await house.claims.record(NAME)) is None or record.owner is None:
                await asyncio.sleep(POLL_S)
            await gateway.open(record.address, NAME, record.epoch)
            while await house.phase(NAME) != "Live":
                await asyncio.sleep(POLL_S)
    finally:
        if reconciling is not None:
            reconciling.cancel()
            await asyncio.wait([reconciling])
        await gateway.close()
        await house.close()
        await operator.api.close()
        await store.aclose()
    return list(followed.files)


async def start_worker(house: House) -> None:
    """A worker of the pool that the session is placed in."""
    made = tests.worker.house.worker_settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            tests.worker.house, "worker_settings", lambda *args, **more: replace(made(*args, **more), pool=POOL)
        )
        await house.start_worker("w0")


def count() -> list[str]:
    """Raises Disturbed."""
    with tempfile.TemporaryDirectory() as folder, RedisProcess(Path(folder)) as server:
        return asyncio.run(walk(server.url))


def main() -> None:
    # What lies elsewhere is no file of the product: each step would be passed over.
    elsewhere = [found for module in (genlock_core, genlock_operator, genlock_worker) if (found := outside(module))]
    if elsewhere:
        raise SystemExit(f"not below {ROOT}: {', '.join(elsewhere)} (PYTHONPATH?)")

    try:
        files = count()
    except Disturbed as disturbed:
        sys.stderr.write(f"{disturbed}; counted once more\n")
        files = count()
    for number, file in enumerate(files, start=1):
        sys.stdout.write(f"{number:2d} {file}\n")


if __name__ == "__main__":
    main()
