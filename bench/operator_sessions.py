"""StreamSessions from outside: created at a pace or all at once, and watched until their status says Assigned."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import httpx

from genlock_core.spec.session import Phase

API = "/apis/genlock.dev/v1alpha1"
CREATORS = 16
"""Requests under way at once in a flood."""


class SessionsFailed(Exception):
    """The API server refused, or what was waited for did not come; the message says what."""


class Sessions:
    """The sessions of one namespace. `watching` is entered round everything else."""

    def __init__(self, http: httpx.AsyncClient, *, namespace: str, spec: Mapping[str, Any]) -> None:
        self._http, self._spec = http, dict(spec)
        self._path = f"{API}/namespaces/{namespace}/streamsessions"
        self.created_s: dict[str, float] = {}
        """When the request to create it was sent."""
        self.assigned_s: dict[str, float] = {}
        """When a watch told of the first status that says Assigned."""
        self._changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Note when sessions become Assigned, from now on."""
        version = (await self._ask("GET", params={"limit": "1"}))["metadata"]["resourceVersion"]
        task = asyncio.create_task(self._watch(version))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _watch(self, version: str) -> None:
        while True:
            query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
            async with self._http.stream("GET", self._path, params=query, timeout=None) as answer:
                async for line in answer.aiter_lines():
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise SessionsFailed(f"the watch: {event['object'].get('message')}")
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._take(event["type"], event["object"])

    def _take(self, kind: str, body: Mapping[str, Any]) -> None:
        name = body["metadata"].get("name", "")
        if kind not in {"ADDED", "MODIFIED"} or name in self.assigned_s:
            return
        if body.get("status", {}).get("phase") == Phase.ASSIGNED:
            self.assigned_s[name] = time.monotonic()
            self._changed.set()

    async def create(self, name: str) -> None:
        """One session."""
        self.created_s[name] = time.monotonic()
        body = {
            "apiVersion": "genlock.dev/v1alpha1",
            "kind": "StreamSession",
            "metadata": {"name": name},
            "spec": self._spec,
        }
        await self._ask("POST", json=body)

    async def create_at(self, names: Iterable[str], *, per_second: float) -> None:
        """At an even pace, whatever becomes of those before: nobody waits for anybody."""
        async with asyncio.TaskGroup() as group:
            began_s = time.monotonic()
            for number, name in enumerate(names):
                await asyncio.sleep(max(0.0, began_s + number / per_second - time.monotonic()))
                group.create_task(self.create(name))

    async def create_all(self, names: Iterable[str]) -> None:
        """As fast as the API server takes them from `CREATORS` clients."""
        left = iter(names)

        async def creator() -> None:
            for name in left:
                await self.create(name)

        await asyncio.gather(*(creator() for _ in range(CREATORS)))

    async def until_assigned(self, names: Iterable[str], *, patience_s: float) -> float:
        """Wait for all of them; when the last one was Assigned. Raises SessionsFailed."""
        wanted = set(names)
        try:
            async with asyncio.timeout(patience_s):
                while missing := wanted - self.assigned_s.keys():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            some = ", ".join(sorted(missing)[:3])
            raise SessionsFailed(
                f"{len(missing)} of {len(wanted)} are not Assigned after {patience_s:g} s: {some}"
            ) from None
        return max(self.assigned_s[name] for name in wanted)

    def latencies_ms(self, names: Iterable[str]) -> list[float]:
        """Request to create sent -> Assigned seen."""
        return [(self.assigned_s[name] - self.created_s[name]) * 1_000 for name in names]

    async def delete_all(self) -> None:
        """Delete them and wait until there is none."""
        await self._ask("DELETE")
        while (await self._ask("GET", params={"limit": "1"}))["items"]:
            await asyncio.sleep(0.2)

    async def _ask(self, method: str, **options: Any) -> Any:
        answer = await self._http.request(method, self._path, **options)
        if answer.is_error:
            raise SessionsFailed(f"{method}: {answer.status_code} {answer.text[:300]}")
        return answer.json()
