"""What the pages take for granted of the interface that they speak to."""

import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from genlock_core.spec.session import StreamSessionSpec
from genlock_core.stream_state.control import ControlRequest
from genlock_core.tokens import Role
from genlock_gateway.web.pages import PAGES, POLICY, policy_of_frames
from tests.gateway.installation import Installation
from tests.process.pages import browser


def test_pictures_from_memory_may_be_shown_and_nothing_more_than_that() -> None:
    policy = dict(part.split(" ", 1) for part in POLICY.split("; "))
    assert policy["img-src"] == "'self' data: blob:"
    assert policy["connect-src"] == policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["default-src"] == "'none'"


def test_the_slider_goes_as_far_as_the_noise_scale_may() -> None:
    tag = re.search(r'<input id="noise"[^>]*>', (PAGES / "studio.html").read_text())
    assert tag is not None
    said = {name: float(value) for name, value in re.findall(r'(min|max|step)="([^"]*)"', tag[0])}
    spec = StreamSessionSpec.model_json_schema()["properties"]["noiseScale"]
    live = ControlRequest.model_json_schema()["properties"]["noiseScale"]["anyOf"][0]
    for bounds in (spec, live):
        assert (said["min"], said["max"]) == (bounds["minimum"], bounds["maximum"])
    assert said["step"] == 0.05


def test_the_sites_that_are_named_may_frame_a_page_and_nothing_else_of_its_policy_changes() -> None:
    assert policy_of_frames(()) == POLICY
    named = policy_of_frames(("https://www.example.org", "http://192.0.2.1:8000"))
    assert named == POLICY.replace("'none'", "https://www.example.org http://192.0.2.1:8000").replace(
        "https://www.example.org http://192.0.2.1:8000;", "'none';"
    )
    assert policy_of_frames(("https://www.example.org", "*")) == POLICY.removesuffix("; frame-ancestors 'none'")


async def test_the_watch_page_follows_its_session_and_the_studio_is_never_framed(installation: Installation) -> None:
    gateway = await installation.gateway()
    await installation.session("shown", access={"origins": ["https://www.example.org"]})
    await installation.session("plain")

    async def ancestors(path: str) -> str:
        answer = await gateway.http.get(path)
        assert answer.status_code == 200
        return str(answer.headers["content-security-policy"]).partition("frame-ancestors ")[2]

    assert await ancestors("/watch/default/shown") == "https://www.example.org"
    for path in ("/watch/default/plain", "/watch/default/nobody", "/watch/x/..%3B", "/studio/default/shown", "/"):
        assert await ancestors(path) == "'none'"


@pytest.mark.browser
async def test_a_refused_token_is_told_and_takes_no_public_session_away(
    installation: Installation, browser_executable: Path
) -> None:
    gateway = await installation.gateway()
    await installation.session("open")
    await installation.session("closed", access={"view": "Token"})
    async with browser(browser_executable) as context:
        for token, shown in (("gl1.k1.wrong", 1), (installation.keyring.token("default/closed", Role.VIEW), 2)):
            page = await context.new_page()
            await page.goto(f"{gateway.url}/#token={token}")
            await expect(page.locator("#sessions > li")).to_have_count(shown)
            told = page.locator("#message").get_by_text("right for no session here")
            await expect(told).to_have_count(2 - shown)
