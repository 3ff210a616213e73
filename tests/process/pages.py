"""A real browser for the process tests, and how to wait for what its pages show.

Playwright's own waiting evaluates text in the page, which the pages' Content-Security-Policy refuses; `until` asks from
outside instead, so that the policy is in force as it is for everybody.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import BrowserContext, Frame, Page, async_playwright

from tests.process.local import eventually

SHOWN = "document.querySelector('#result').getVideoPlaybackQuality().totalVideoFrames"
"""Pictures that the result's video element has shown so far."""


@asynccontextmanager
async def browser(executable: Path, *arguments: str) -> AsyncIterator[BrowserContext]:
    """A context of a headless Chromium, dark, large enough for the studio."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=str(executable),
            args=[
                "--no-sandbox",
                "--disable-background-networking",
                "--autoplay-policy=no-user-gesture-required",
                *arguments,
            ],
        )
        try:
            yield await chromium.new_context(viewport={"width": 1440, "height": 1180}, color_scheme="dark")
        finally:
            await chromium.close()


async def until(page: Page | Frame, expression: str, *, what: str) -> None:
    """Wait until a JavaScript expression is true on the page."""

    async def holds() -> bool:
        return bool(await page.evaluate(expression))

    await eventually(holds, what=what)


async def playing(page: Page | Frame, *, frames: int = 24) -> None:
    """The result advances: more pictures are shown, and the media time goes on. A page that has connected again shows a
    new stream, whose counts begin anew."""
    begun: list[float] | None = None

    async def advances() -> bool:
        nonlocal begun
        now = await page.evaluate(f"[{SHOWN}, document.querySelector('#result').currentTime]")
        if begun is None or now[0] < begun[0] or now[1] < begun[1]:
            begun = now
        return bool(now[0] > begun[0] + frames and now[1] > begun[1])

    await eventually(advances, what=f"{frames} more pictures on the page")
