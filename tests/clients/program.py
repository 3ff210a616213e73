"""A client in a process of its own: it tells events as lines of JSON on its output, and leaves when its input ends.

What a watching program saw lies in the folder that it was given: pictures, or the media as it came.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.clients.heard import ClientFailed, Heard
from tests.clients.viewer import PATIENCE_S

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "build" / "clients"
"""What `make clients-install` builds."""
PROGRAMS = Path(__file__).parent / "programs"


@asynccontextmanager
async def running(command: Sequence[str | Path]) -> AsyncIterator[Heard]:
    """A program, told to leave at the end, killed where the caller fails. Raises ClientFailed unless it ends well."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    heard = Heard()
    listening = asyncio.create_task(_listen(process, heard), name=f"listen to {command[0]}")
    try:
        yield heard
        await _leave(process, heard)
    finally:
        if process.returncode is None:
            process.kill()
        await listening


async def _listen(process: asyncio.subprocess.Process, heard: Heard) -> None:
    """Take what it tells until it ends."""

    async def take(stream: asyncio.StreamReader | None) -> None:
        assert stream is not None
        async for line in stream:
            text = line.decode(errors="replace").rstrip()
            if text.startswith('{"event"'):
                await heard.hear(json.loads(text))
            elif text:
                heard.overhear(text)

    await asyncio.gather(take(process.stdout), take(process.stderr))
    await heard.end(f"it ended with status {await process.wait()}")


async def _leave(process: asyncio.subprocess.Process, heard: Heard) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        status = await asyncio.wait_for(process.wait(), PATIENCE_S)
    except TimeoutError:
        raise ClientFailed(f"it did not leave; {heard.said}") from None
    if status != 0:
        raise ClientFailed(f"it left with status {status}; {heard.said}")
