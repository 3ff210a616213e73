"""Pictures of a page, on a desktop and a phone, light and dark, as one sheet: `make screenshots` keeps them."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.async_api import Page

DESKTOP: Final = (1280, 800)
PHONE: Final = (390, 844)
SHEET_WIDTH: Final = 1200
GAP: Final = 12


async def take(page: Page, name: str) -> None:
    """Keep a sheet of the page where $GENLOCK_SCREENSHOTS says so; the page is left as it was."""
    folder = os.environ.get("GENLOCK_SCREENSHOTS")
    if not folder:
        return
    shots = []
    for width, height in (DESKTOP, PHONE):
        await page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            await page.wait_for_timeout(350)
            shots.append(Image.open(io.BytesIO(await page.screenshot())))
    target = Path(folder) / "states"
    target.mkdir(parents=True, exist_ok=True)
    sheet(shots).save(target / f"{name}.webp", quality=80, method=6)
    await page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})


def sheet(shots: Sequence[Image.Image]) -> Image.Image:
    """All of them side by side, at one height."""
    height = min(shot.height for shot in shots)
    scaled = [shot.resize((round(shot.width * height / shot.height), height)) for shot in shots]
    width = sum(shot.width for shot in scaled) + GAP * (len(scaled) - 1)
    whole = Image.new("RGB", (width, height), "#808080")
    left = 0
    for shot in scaled:
        whole.paste(shot, (left, 0))
        left += shot.width + GAP
    return whole.resize((SHEET_WIDTH, round(height * SHEET_WIDTH / width)), Image.Resampling.LANCZOS)
