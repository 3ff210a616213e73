"""What people meet on the pages besides the states: messages that stay, a viewer's studio, a new beginning."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from genlock_cli.redis_server import RedisProcess
from genlock_core.situation.states import SessionState
from genlock_core.situation.words import ENGINES
from genlock_core.stream_state.control import ControlChange
from genlock_core.tokens import Role
from tests.gateway.installation import until
from tests.gateway.page.pictures import take
from tests.gateway.page.stage import DEMO, PRIVATE, Stage, eventually, shows, staged

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

PATIENCE_MS = 60_000
LONG = "a very long prompt\nwith several lines " + "x" * 1_900
PICTURES = "document.getElementById('result').getVideoPlaybackQuality().totalVideoFrames"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory, browser_executable: Path) -> AsyncIterator[Stage]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as redis:
        async with staged(redis.url, browser_executable) as stage:
            yield stage


async def moves(page: Page) -> None:
    """The picture moves."""
    before = await page.evaluate(PICTURES)
    await eventually(page, f"{PICTURES} > {before} + 3", what="more pictures")


async def test_a_message_stays_while_the_picture_goes_on_until_it_is_dismissed(stage: Stage) -> None:
    async with stage.published(), stage.page(stage.url("studio", role=Role.PUBLISH)) as page:
        await shows(page, SessionState.LIVE)
        await page.get_by_role("button", name="Turn the camera on").click()
        refused = page.get_by_role("alert").filter(has_text="Somebody else is publishing")
        await expect(refused).to_be_visible(timeout=PATIENCE_MS)
        await page.locator("#prompt").fill("")
        await page.get_by_role("button", name="Apply").click()
        empty = page.get_by_role("alert").filter(has_text="The prompt is empty")
        await expect(empty).to_be_visible()

        # Figures come twice a second, a state every three: neither wipes what somebody else said.
        stage.gateway.gateway.hub.streams[0].audience.state_changed = True
        await asyncio.sleep(3.5)
        await moves(page)
        await expect(refused).to_be_visible()
        await expect(empty).to_be_visible()

        await page.locator("#prompt").fill("ink")
        await expect(empty).to_be_hidden()
        await refused.get_by_role("button", name="Dismiss").click()
        await expect(refused).to_be_hidden()
        await shows(page, SessionState.LIVE)
        await expect(page.locator("#message")).to_be_hidden()


async def test_a_publisher_takes_over_by_a_click_and_the_other_one_hears_of_it(stage: Stage) -> None:
    studio = stage.url("studio", role=Role.PUBLISH)
    async with stage.page(studio) as first, stage.page(studio) as second:
        await first.get_by_role("button", name="Turn the camera on").click()
        await shows(first, SessionState.LIVE)
        await second.get_by_role("button", name="Turn the camera on").click()
        await shows(second, SessionState.SOMEBODY_PUBLISHES)
        await second.get_by_role("button", name="Take over").click()
        await shows(second, SessionState.LIVE)
        await expect(second.get_by_role("button", name="Stop publishing")).to_be_visible()
        await shows(first, SessionState.SOMEBODY_PUBLISHES)
        await expect(first.get_by_role("button", name="Stop publishing")).to_be_hidden()
        await moves(second)


async def test_who_may_only_watch_gets_no_desk_and_moves_nothing(stage: Stage) -> None:
    async with stage.published(), stage.page(stage.url("studio", role=Role.VIEW)) as page:
        await shows(page, SessionState.LIVE)
        await expect(page.get_by_role("region", name="Source")).to_be_hidden()
        await expect(page.get_by_role("button", name="Turn the camera on")).to_be_hidden()
        await expect(page.get_by_text("You watch; ask for a publisher's link to steer")).to_be_visible()
        await expect(page.get_by_label("Prompt", exact=True)).not_to_be_editable()
        steer = page.get_by_role("region", name="Steer the picture")
        for control in await steer.locator("button, input").all():
            await expect(control).to_be_disabled()
        for key in "cs12pr":
            await page.keyboard.press(key)
        await expect(page.locator("#message")).to_be_hidden()
        await moves(page)
        await take(page, "viewers-studio")

        # With a publisher's token it becomes a desk.
        await page.get_by_role("link", name="I have one").click()
        await page.get_by_label("Token", exact=True).fill(stage.token(Role.PUBLISH))
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="Turn the camera on")).to_be_visible(timeout=PATIENCE_MS)
        await expect(page.get_by_role("button", name="Apply")).to_be_enabled()


async def test_the_camera_is_published_repainted_and_turned_off(stage: Stage) -> None:
    async with stage.page(stage.url("studio", role=Role.PUBLISH)) as page:
        await page.get_by_role("button", name="Turn the camera on").click()
        await shows(page, SessionState.LIVE)
        asked = await page.evaluate("document.getElementById('source').srcObject.getVideoTracks()[0].getConstraints()")
        assert (asked["width"], asked["height"]) == (832, 480), "the session's own size"
        await expect(page.get_by_role("button", name="Stop publishing")).to_be_visible()
        await page.get_by_role("button", name="Stop publishing").click()
        await shows(page, SessionState.NOBODY_PUBLISHES)
        await expect(page.get_by_text("The publisher has gone.")).to_be_visible()
        await expect(page.get_by_role("button", name="Turn the camera on")).to_be_visible()


async def test_a_phone_held_upright_is_asked_for_an_upright_picture(stage: Stage) -> None:
    await stage.installation.session("upright", cost=100, orientation="auto", access={"publish": "Public"})
    async with stage.page(f"{stage.gateway.url}/studio/default/upright") as page:
        await page.set_viewport_size({"width": 390, "height": 844})
        await page.get_by_role("button", name="Turn the camera on").click()
        await expect(page.get_by_role("button", name="Stop publishing")).to_be_visible(timeout=PATIENCE_MS)
        asked = await page.evaluate("document.getElementById('source').srcObject.getVideoTracks()[0].getConstraints()")
        assert (asked["width"], asked["height"]) == (480, 832)


async def test_several_cameras_can_be_chosen_from(stage: Stage) -> None:
    two = """
      const one = navigator.mediaDevices.enumerateDevices.bind(navigator.mediaDevices);
      navigator.mediaDevices.enumerateDevices = async () => {
        const [camera] = (await one()).filter((device) => device.kind === "videoinput");
        return [camera, { deviceId: "other", kind: "videoinput", label: "another camera" }];
      };"""
    async with stage.page("about:blank") as page:
        await page.add_init_script(two)
        await page.goto(stage.url("studio", role=Role.PUBLISH))
        await page.get_by_role("button", name="Turn the camera on").click()
        await shows(page, SessionState.LIVE)
        await expect(page.get_by_role("button", name="Flip camera")).to_be_visible()
        await expect(page.get_by_label("Camera", exact=True).locator("option")).to_have_count(2)
        await page.get_by_label("Camera", exact=True).select_option("another camera")
        # There is no such device: the page says so, and has stopped publishing.
        await shows(page, SessionState.CAMERA_MISSING)
        await expect(page.get_by_role("button", name="Stop publishing")).to_be_hidden()


async def test_the_viewer_link_of_a_private_session_opens_it(stage: Stage) -> None:
    async with stage.page(stage.url("studio", PRIVATE, Role.PUBLISH), permissions=["clipboard-read"]) as page:
        await shows(page, SessionState.WAITING_FOR_PUBLISHER)
        await page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
        await page.get_by_role("button", name="Copy viewer link").click()
        await expect(page.get_by_role("button", name="Copied")).to_be_visible()
        link = await page.evaluate("window.copied")
        assert f"/watch/{PRIVATE}#token=" in link
        assert stage.token(Role.PUBLISH, PRIVATE) not in link
    async with stage.page(link) as friend:
        await expect(friend.get_by_text("The picture starts when somebody publishes.")).to_be_visible()
    async with stage.page(link.replace("/watch/", "/studio/")) as friend:
        await expect(friend.get_by_text("You watch; ask for a publisher's link to steer")).to_be_visible()
        await expect(friend.get_by_role("button", name="Copy viewer link")).to_be_hidden()


async def test_an_ended_session_is_closed_and_can_start_again(stage: Stage) -> None:
    admin = stage.installation.token(role=Role.ADMIN)
    async with stage.published(), stage.page(stage.url("studio", role=Role.PUBLISH)) as page:
        await shows(page, SessionState.LIVE)
        assert (await stage.gateway.http.delete(f"/api/v1/sessions/{DEMO}", headers=admin)).status_code == 204
        await shows(page, SessionState.ENDED)
        await expect(page.get_by_text("It was ended on purpose.")).to_be_visible()
        for name in ("Turn the camera on", "Copy viewer link", "Apply", "Pause"):
            await expect(page.get_by_role("button", name=name)).to_be_hidden()
        assert await page.evaluate("document.getElementById('result').srcObject") is None, "no picture that looks live"

        await page.get_by_role("button", name="Start again").click()
        await shows(page, SessionState.WAITING_FOR_PUBLISHER)
        await page.get_by_role("button", name="Turn the camera on").click()
        await shows(page, SessionState.LIVE)
        await moves(page)


async def test_a_viewers_page_says_in_its_title_and_over_the_picture_what_is_going_on(stage: Stage) -> None:
    async with stage.page(stage.url("watch")) as page:
        with stage.facts(busy_workers=2):
            await expect(page.get_by_text("All 2 workers are busy")).to_be_visible(timeout=PATIENCE_MS)
            assert await page.title() == "All 2 workers are busy · demo"
            await take(page, "watch-capacity-full")
        async with stage.published():
            await eventually(page, "document.title === 'demo · Genlock'", what="the title of a live session")
            await expect(page.locator("#told")).to_be_hidden()
            await moves(page)
            await take(page, "watch")
        await expect(page.get_by_text("Nobody publishes")).to_be_visible(timeout=PATIENCE_MS)


async def test_a_watch_page_invites_nobody_to_what_it_has_not(stage: Stage) -> None:
    async with stage.page(stage.url("watch", role=Role.PUBLISH)) as page:
        await expect(page.locator("#told")).to_contain_text("when somebody publishes", timeout=PATIENCE_MS)
        await expect(page.locator("#told")).not_to_contain_text("Turn the camera on")


async def test_a_long_prompt_takes_three_lines_of_its_card(stage: Stage) -> None:
    request = ControlChange(prompt=LONG).to_fields()
    await stage.installation.claims.remember_control(DEMO, request, "1-1")
    async with stage.page(stage.gateway.url) as page:
        card = page.locator(".session-card", has_text=DEMO)
        await expect(card).to_be_visible(timeout=PATIENCE_MS)
        prompt = card.locator(".prompt")
        height = await prompt.evaluate("(one) => one.clientHeight / parseFloat(getComputedStyle(one).lineHeight)")
        assert round(height) == 3
        assert await prompt.evaluate("(one) => one.scrollHeight > one.clientHeight"), "there is more of it"
        await expect(page.get_by_text(ENGINES["mock"])).to_be_visible()
        await take(page, "sessions")
        await page.get_by_role("link", name="How to get the model").click()
        await expect(page.get_by_role("heading", name="How to get the model")).to_be_visible()


async def test_a_page_publishes_on_until_its_next_connection_stands(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "genlock_gateway")
    async with stage.page(stage.url("studio", role=Role.PUBLISH)) as page:
        await page.get_by_role("button", name="Turn the camera on").first.click()
        hub = stage.gateway.gateway.hub
        await until(lambda: any(each.kind == "whip" for _, each in hub.resources()), timeout_s=PATIENCE_MS / 1_000)
        stream = hub.find(DEMO)
        assert stream is not None
        await until(lambda: stream.audience.publisher is not None, timeout_s=PATIENCE_MS / 1_000)
        before = stream.audience.publisher
        assert before is not None
        hello = json.dumps({"type": "hello"})
        await until(lambda: before.peer.send(hello), timeout_s=PATIENCE_MS / 1_000)  # the channel is open
        stream.audience.tell("reconnect", {"afterMs": 0})
        await until(lambda: before.peer.state == "closed", timeout_s=PATIENCE_MS / 1_000)
        assert stream.audience.publisher is not before, "the gateway took the new one before the old one went"
    assert "gone: another publication took over" in caplog.text
