"""`genlock up` as a user starts it, for clients that know nothing of tests: default settings, a free port."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from genlock_cli.state_dir import StateDir
from genlock_core.spec.session import SessionKey
from genlock_core.tokens import Role
from tests.clients.heard import ClientFailed
from tests.clients.program import ROOT

START_WITHIN_S = 90.0
LEFT_WITHIN_S = 60.0
"""A publisher that went without a goodbye is missed after half a minute."""

SESSION = """\
apiVersion: genlock.dev/v1alpha1
kind: StreamSession
metadata: {{name: {name}}}
spec:
  model: wan2.1-1.3b
  prompt: a watercolour city at dusk, soft light, wet paper
  source: {{type: webrtc}}
  access: {{publish: Public, view: Public, origins: [{origins}]}}
"""
"""The demo's manifest under other names, as a publisher holds its session."""


@dataclass(frozen=True, slots=True)
class Up:
    """A running `genlock up`."""

    url: str
    state: StateDir

    def token(self, endpoint: str, role: Role) -> str:
        """A token for the session of a WHIP or WHEP URL, as `genlock session token` gives one."""
        session = SessionKey(name=endpoint.rpartition("/")[2])
        return self.state.keyring().token(session, role)

    def whip(self, session: str) -> str:
        return f"{self.url}/whip/default/{session}"

    def whep(self, session: str) -> str:
        return f"{self.url}/whep/default/{session}"

    async def until_unpublished(self, session: str) -> None:
        """Wait until nobody publishes to the session. Raises TimeoutError."""
        async with asyncio.timeout(LEFT_WITHIN_S), httpx.AsyncClient(timeout=10.0) as http:
            while (await http.get(f"{self.url}/api/v1/sessions/default/{session}")).json()["publisher"]:
                await asyncio.sleep(0.1)


@asynccontextmanager
async def genlock_up(folder: Path, sessions: Sequence[str], *, origins: Sequence[str]) -> AsyncIterator[Up]:
    """`genlock up` with these sessions, which pages of `origins` may show; it is stopped as Ctrl-C stops it.

    What it says lies in the folder.
    """
    state = StateDir(folder / "state")
    manifest = folder / "sessions.yaml"
    manifest.write_text("---\n".join(SESSION.format(name=name, origins=", ".join(origins)) for name in sessions))
    command = (sys.executable, "-m", "genlock_cli.main", "up", str(manifest), "--port", "0", "--json")
    with (folder / "up.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env={**os.environ, "GENLOCK_STATE_DIR": str(folder / "state")},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            limit=1 << 22,
        )
    assert process.stdout is not None
    listening: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(START_WITHIN_S):
            first = json.loads(await process.stdout.readline() or "{}")
        if "up" not in first or first["refused"]:
            raise ClientFailed(f"genlock up did not serve: {first}; {(folder / 'up.log').read_text()[-2000:]}")
        listening = asyncio.create_task(_drain(process.stdout), name="genlock up is heard")
        yield Up(first["up"][0], state)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.wait()
        if listening is not None:
            await listening


async def _drain(stream: asyncio.StreamReader) -> None:
    """Its report of each second is not needed, but a full pipe would stop it."""
    async for _line in stream:
        pass
