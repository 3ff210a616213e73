"""The cluster as a platform team has it in hand: kubectl and helm for what is done, reads through `kubectl proxy`.

Reading goes past kubectl because tests look many times a second, and a program start each time would take the processor
from the streams that are looked at.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import pytest

GROUP = "/apis/genlock.dev/v1alpha1"
LOOK_EVERY_S = 0.2

Object = dict[str, Any]
T = TypeVar("T")


class CommandFailed(Exception):
    """A command said no; the message is what it said."""


async def run(*command: str, stdin: str | None = None, timeout_s: float = 120.0, cwd: str | None = None) -> str:
    """Standard output of a command. Raises CommandFailed with what it wrote to standard error."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(None if stdin is None else stdin.encode()), timeout_s)
    except BaseException as error:
        # Whoever is cancelled here leaves no process behind either.
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
        if isinstance(error, TimeoutError):
            raise CommandFailed(f"{' '.join(command)}: not done within {timeout_s:g} s") from None
        raise
    if process.returncode:
        raise CommandFailed((err or out).decode().strip() or f"{command[0]} ended with {process.returncode}")
    return out.decode().strip()


async def kubectl(*arguments: str, stdin: str | None = None, timeout_s: float = 120.0) -> str:
    """What kubectl prints. Raises CommandFailed."""
    return await run("kubectl", *arguments, stdin=stdin, timeout_s=timeout_s)


async def helm(*arguments: str, timeout_s: float = 180.0) -> str:
    """What helm prints. Raises CommandFailed."""
    return await run("helm", *arguments, timeout_s=timeout_s)


async def apply(*manifests: Object) -> str:
    """`kubectl apply` of several objects at once."""
    return await kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))


async def refusal(*arguments: str, stdin: str | None = None) -> str:
    """What kubectl says when it is refused; fails if it is not."""
    try:
        answer = await kubectl(*arguments, stdin=stdin)
    except CommandFailed as error:
        return str(error)
    pytest.fail(f"kubectl {' '.join(arguments)} was not refused: {answer}")


class Cluster:
    """Reads of the API server."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def get(self, path: str, **parameters: str) -> Object | None:
        """An object or a list; None if there is none of the name."""
        response = await self._http.get(path, params=parameters)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        response.raise_for_status()
        return dict(response.json())

    async def items(self, path: str, **parameters: str) -> list[Object]:
        found = await self.get(path, **parameters)
        return list((found or {}).get("items", []))

    async def session(self, namespace: str, name: str) -> Object | None:
        return await self.get(f"{GROUP}/namespaces/{namespace}/streamsessions/{name}")

    async def pool(self, namespace: str, name: str) -> Object | None:
        return await self.get(f"{GROUP}/namespaces/{namespace}/workerpools/{name}")

    async def pods(self, namespace: str, selector: str = "") -> list[Object]:
        return await self.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector)

    async def pod(self, namespace: str, name: str) -> Object | None:
        return await self.get(f"/api/v1/namespaces/{namespace}/pods/{name}")

    async def events(self, namespace: str, name: str) -> list[tuple[str, str]]:
        """(reason, message) of the Events about an object, of either API."""
        found = await self.items(f"/api/v1/namespaces/{namespace}/events", fieldSelector=f"involvedObject.name={name}")
        return [(str(one.get("reason")), str(one.get("message"))) for one in found]


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    """The cluster of KUBECONFIG, for as long as it is read."""
    proxy = await asyncio.create_subprocess_exec(
        "kubectl", "proxy", "--port=0", stdout=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    assert proxy.stdout is not None
    try:
        address = (await asyncio.wait_for(proxy.stdout.readline(), 30)).decode().split()[-1]
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=30.0) as http:
            yield Cluster(http)
    finally:
        with contextlib.suppress(ProcessLookupError):
            proxy.terminate()
        await proxy.communicate()


async def eventually(
    look: Callable[[], Awaitable[T]], holds: Callable[[T], object], *, what: str, within_s: float = 60.0
) -> T:
    """What `look` sees as soon as it `holds`; fails with the last that was seen."""
    clock = asyncio.get_running_loop()
    deadline = clock.time() + within_s
    seen: Any = "nothing"
    while True:
        try:
            found = await look()
            if holds(found):
                return found
            seen = found
        except httpx.TransportError as error:
            seen = error  # the API server or a gateway is being restarted
        if clock.time() > deadline:
            pytest.fail(f"not within {within_s:g} s: {what}; last seen: {brief(seen)}")
        await asyncio.sleep(LOOK_EVERY_S)


def brief(seen: Any) -> str:
    """An object without what nobody asks for."""
    if isinstance(seen, list):
        return "[" + ", ".join(brief(one) for one in seen) + "]"
    if isinstance(seen, Mapping) and "metadata" in seen:
        return json.dumps({"name": seen["metadata"].get("name"), "status": seen.get("status")})[:1_500]
    return str(seen)[:1_500]


def condition(thing: Object | None, kind: str) -> tuple[str, str, str]:
    """(status, reason, message) of a condition; empty strings if there is none."""
    for one in ((thing or {}).get("status") or {}).get("conditions", []):
        if one["type"] == kind:
            return str(one["status"]), str(one.get("reason", "")), str(one.get("message", ""))
    return "", "", ""


def status(thing: Object | None) -> Object:
    """The status, {} without one."""
    return dict((thing or {}).get("status") or {})
