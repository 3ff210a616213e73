"""The studio page in a real browser: camera on, picture repainted, prompt changed, a second viewer, a dead worker."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, ConsoleMessage, Page, async_playwright, expect

from genlock_core.tokens import Role
from tests.process.local import MANIFEST, Local, local_genlock

pytestmark = [pytest.mark.process, pytest.mark.browser, pytest.mark.timeout(240)]

PATIENCE_MS = 60_000
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
# The mean colour of the result, from a canvas: what a prompt change must change.
MEAN_COLOUR = """() => {
  const video = document.getElementById('result'), canvas = document.createElement('canvas');
  canvas.width = 52; canvas.height = 30;
  const pen = canvas.getContext('2d');
  pen.drawImage(video, 0, 0, 52, 30);
  const data = pen.getImageData(0, 0, 52, 30).data, sum = [0, 0, 0];
  for (let i = 0; i < data.length; i += 4) for (let c = 0; c < 3; c++) sum[c] += data[i + c];
  return sum.map((all) => all / (data.length / 4));
}"""


@asynccontextmanager
async def browser(executable: Path, *arguments: str) -> AsyncIterator[BrowserContext]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=str(executable), args=["--no-sandbox", "--disable-quic", *arguments]
        )
        try:
            context = await chromium.new_context(viewport={"width": 1440, "height": 1100}, color_scheme="dark")
            await context.grant_permissions(["camera"])
            yield context
        finally:
            await chromium.close()


def no_errors_on(page: Page) -> list[str]:
    """Collects what the page complains about; a refused request (a test's own doing) is not the page's mistake."""
    errors: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            errors.append(message.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


async def playing(page: Page, *, frames: int = 24) -> None:
    """The result advances: decoded frames grow, and so does the media time."""
    start = await page.evaluate("document.getElementById('result').getVideoPlaybackQuality().totalVideoFrames")
    at = await page.evaluate("document.getElementById('result').currentTime")
    await page.wait_for_function(
        f"""() => {{ const v = document.getElementById('result');
            return v.getVideoPlaybackQuality().totalVideoFrames > {start + frames} && v.currentTime > {at}; }}""",
        timeout=PATIENCE_MS,
    )


async def picture(page: Page, name: str) -> None:
    """Keep a screenshot where $GENLOCK_SCREENSHOTS says so (`make screenshots`)."""
    if folder := os.environ.get("GENLOCK_SCREENSHOTS"):
        await page.screenshot(path=Path(folder) / f"{name}.png")


async def test_a_creator_publishes_the_camera_steers_and_is_watched(tmp_path: Path, browser_executable: Path) -> None:
    async with local_genlock(tmp_path) as local, browser(browser_executable, *CAMERA) as context:
        page = await context.new_page()
        errors = no_errors_on(page)
        await page.goto(local.urls[0])
        await page.get_by_role("link", name="Open the studio").click()
        await page.get_by_role("button", name="Turn the camera on").click()
        await playing(page)
        size = await page.evaluate(
            "[document.getElementById('result').videoWidth, document.getElementById('result').videoHeight]"
        )
        assert size == [832, 480]
        await expect(page.locator("#phase")).to_have_text("Live", timeout=PATIENCE_MS)
        await expect(page.locator("#figure-first-frame .value")).to_contain_text("ms", timeout=PATIENCE_MS)
        await expect(page.locator("#figure-fps .value")).to_contain_text("fps", timeout=PATIENCE_MS)

        before = await page.evaluate(MEAN_COLOUR)
        await page.locator("#prompt").fill("neon lights in the rain")
        await page.get_by_role("button", name="Apply").click()
        await page.wait_for_function(
            f"({MEAN_COLOUR})().some((value, i) => Math.abs(value - {before}[i]) > 12)", timeout=PATIENCE_MS
        )
        await playing(page)
        await picture(page, "studio")

        viewer = await context.new_page()
        await viewer.goto(f"{local.urls[0]}/watch/default/demo")
        await playing(viewer)
        await picture(viewer, "watch")
        await _a_dead_worker(local, page, viewer)
        await picture(page, "studio-after-a-crash")
        await page.keyboard.press("s")
        await expect(page.get_by_role("button", name="Turn the camera on")).to_be_visible()
        assert not errors


async def _a_dead_worker(local: Local, *pages: Page) -> None:
    before = await local.session()
    pid = local.child(before["worker"]).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await local.when(lambda s: s["epoch"] > before["epoch"] and s["phase"] == "Live", what="another worker")
    for page in pages:
        await page.bring_to_front()
        await playing(page)


async def test_the_page_asks_for_a_token_and_says_what_is_wrong(tmp_path: Path, browser_executable: Path) -> None:
    manifest = MANIFEST.replace("{publish: Public, view: Public}", "{publish: Token, view: Token}")
    async with local_genlock(tmp_path, manifest=manifest) as local, browser(browser_executable, *CAMERA) as context:
        page = await context.new_page()
        await page.goto(f"{local.urls[0]}/studio/default/demo")
        await expect(page.get_by_role("dialog")).to_be_visible(timeout=PATIENCE_MS)
        await picture(page, "studio-token")
        token = local.token(Role.PUBLISH)["Authorization"].removeprefix("Bearer ")
        await page.get_by_label("Token", exact=True).fill(token)
        await page.get_by_role("button", name="Use it").click()
        await page.get_by_role("button", name="Turn the camera on").click()
        await playing(page)
        await page.goto(f"{local.urls[0]}/studio/default/nobody")
        await expect(page.locator("#message")).to_contain_text("no such session", ignore_case=True, timeout=PATIENCE_MS)


async def test_without_a_camera_the_page_says_what_to_do(tmp_path: Path, browser_executable: Path) -> None:
    async with local_genlock(tmp_path) as local, browser(browser_executable) as context:
        page = await context.new_page()
        await page.set_viewport_size({"width": 390, "height": 844})
        await page.goto(f"{local.urls[0]}/studio/default/demo")
        await page.keyboard.press("c")
        await expect(page.locator("#message")).to_contain_text("camera", ignore_case=True, timeout=PATIENCE_MS)
        await picture(page, "studio-phone")
