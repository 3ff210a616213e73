"""Firefox, headless and with its default preferences: it opens a page of another site that reports over HTTP.

Nobody steers it, as remote control changes preferences. Without a camera that it may use unasked it publishes a canvas.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from genlock_core.tokens import Role
from tests.clients.heard import Heard
from tests.clients.laboratory import Client, Laboratory
from tests.clients.needs import Need
from tests.clients.proof import Way
from tests.clients.runs import publishing, watching


@asynccontextmanager
async def _firefox(lab: Laboratory, client: Client, url: str) -> AsyncIterator[Heard]:
    """A page in a Firefox of its own, with a new profile. A page of another site publishes with a token only."""
    token = lab.up.token(url, Role.PUBLISH) if client.way is Way.PUBLISH else ""
    visit, path = lab.site.visit(client.id, "bare.html", way=client.way, url=url, token=token, source="canvas")
    executable = lab.tools[Need.FIREFOX]
    home = lab.room(client)
    profile = home / "profile"
    profile.mkdir()
    await visit.heard.hear({"event": "version", "version": await _version(str(executable))})
    process = await asyncio.create_subprocess_exec(
        *(executable, "--headless", "--no-remote", "--profile", profile, f"{lab.site.origin}{path}"),
        env={**os.environ, "HOME": str(home)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield visit.heard
        visit.over.set()
        await visit.heard.event("left")
    finally:
        visit.over.set()
        process.terminate()
        await process.wait()


async def _version(executable: str) -> str:
    process = await asyncio.create_subprocess_exec(executable, "--version", stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    return said.decode().strip().removeprefix("Mozilla ")


CLIENTS = (
    Client(
        "firefox",
        "Firefox, a bare snippet",
        Way.PUBLISH,
        "default preferences; [bare.js](../tests/clients/programs/web/bare.js) on a page of another site, with the "
        "token of `genlock session token demo --role publish`, and a canvas as the camera",
        publishing(_firefox),
        (Need.FIREFOX,),
    ),
    Client(
        "firefox",
        "Firefox, a bare snippet",
        Way.WATCH,
        "default preferences; [bare.js](../tests/clients/programs/web/bare.js) on a page of another site, which the "
        "session names: `access: {view: Public, origins: [...]}`",
        watching(_firefox),
        (Need.FIREFOX,),
    ),
)
