"""Where the clients are tried: one `genlock up`, sessions that publishers have in turn, a stage for all that watch."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Browser, async_playwright

from genlock_core.process.tasks import end_tasks
from tests.clients.card import BASELINE, write_clip
from tests.clients.needs import Need
from tests.clients.proof import Proof, Way
from tests.clients.site import Site, served
from tests.clients.up import Up, genlock_up
from tests.clients.viewer import Viewer

STAGE = "stage"
"""The session that the watching clients watch."""
CHROMIUM_ARGUMENTS = ("--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
"""A camera that is a pattern, and nobody who has to allow it; a container has no sandbox."""
LANES = ("demo", "left", "right")
"""The sessions that are published to. With the stage they are all that the two workers of `genlock up` have room for.
So many clients run side by side."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client that goes one way, and how."""

    name: str
    """Of the program and what is done with it, in a word."""
    title: str
    way: Way
    settings: str
    """What one has to set to do the same; Markdown."""
    run: "Callable[[Laboratory, Client], Awaitable[Proof]]"
    needs: tuple[Need, ...] = ()
    """What it cannot be run without."""
    size: tuple[int, int] = (832, 480)

    @property
    def id(self) -> str:
        return f"{self.name}-{self.way}"


@dataclass(slots=True)
class Laboratory:
    """What a client's run may use. It lives as long as `genlock up` does."""

    up: Up
    folder: Path
    """Of the whole run; holds the clips."""
    tools: Mapping[Need, Path]
    """What this machine has of what clients need."""
    site: Site
    """Of the pages that are not Genlock's."""
    stack: AsyncExitStack
    """What several clients use ends with the laboratory."""
    lanes: "asyncio.Queue[str]"
    """The sessions that nobody publishes to."""
    _chromium: asyncio.Task[Browser] | None = None

    @asynccontextmanager
    async def lane(self) -> AsyncIterator[str]:
        """A session to publish to. It goes to the next one when its publisher has left."""
        session = await self.lanes.get()
        try:
            yield session
        finally:
            await self.up.until_unpublished(session)
            self.lanes.put_nowait(session)

    async def chromium(self) -> Browser:
        """The one Chromium of the laboratory, started by the first client that needs it."""
        if self._chromium is None:
            self._chromium = asyncio.create_task(self._launch(), name="launch Chromium")
        return await asyncio.shield(self._chromium)

    async def _launch(self) -> Browser:
        executable = self.tools[Need.CHROMIUM]
        playwright = await self.stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=str(executable), args=CHROMIUM_ARGUMENTS)
        self.stack.push_async_callback(browser.close)
        return browser

    def room(self, client: Client) -> Path:
        """The client's own folder."""
        room = self.folder / client.id
        room.mkdir(exist_ok=True)
        return room


@asynccontextmanager
async def laboratory(folder: Path, clients: Sequence[Client], tools: Mapping[Need, Path]) -> AsyncIterator[Laboratory]:
    """A `genlock up` for these clients, with somebody on stage if any of them watches."""
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(write_clip, folder / "card.mp4", BASELINE)
        await asyncio.to_thread(write_clip, folder / "card.h264", BASELINE)
        site = await stack.enter_async_context(served())
        up = await stack.enter_async_context(genlock_up(folder, (STAGE, *LANES), origins=(site.origin,)))
        if any(client.way is Way.WATCH for client in clients):
            await stack.enter_async_context(_on_stage(up, folder))
        lanes: asyncio.Queue[str] = asyncio.Queue()
        for lane in LANES:
            lanes.put_nowait(lane)
        yield Laboratory(up, folder, tools, site, stack, lanes)


@asynccontextmanager
async def _on_stage(up: Up, folder: Path) -> AsyncIterator[None]:
    """`genlock publish` of the card, and a viewer of ours, so that nobody who watches is the first."""
    command = (sys.executable, "-m", "genlock_cli.main", "publish", str(folder / "card.mp4"), STAGE, "--loop", "--json")
    gateway = ("--gateway", up.url)
    async with Viewer(up.whep(STAGE)) as viewer:
        process = await asyncio.create_subprocess_exec(
            *command, *gateway, env=os.environ, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            await viewer.until_seen()
            yield
        finally:
            process.terminate()
            await process.wait()


class Runs:
    """The runs of all clients, side by side in small groups; a test waits for its own.

    A run begins when there is room, in the order of the list; `proof` raises what went wrong in it.
    """

    def __init__(self, lab: Laboratory, clients: Sequence[Client]) -> None:
        self._lab = lab
        self._room = asyncio.Semaphore(len(LANES))
        self._runs: Mapping[str, asyncio.Task[Proof]] = {
            client.id: asyncio.create_task(self._run(client), name=client.id) for client in clients
        }

    async def proof(self, client: Client) -> Proof:
        """What was seen of the client, once it has run."""
        return await asyncio.shield(self._runs[client.id])

    async def end(self) -> None:
        await end_tasks(self._runs.values())

    async def _run(self, client: Client) -> Proof:
        async with self._room:
            return await client.run(self._lab, client)
