"""The API page shows all of `/openapi.json`, by itself: no other server is asked for anything."""

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.gateway.installation import Installation
from tests.process.pages import browser


def watched(page: Page) -> tuple[list[str], list[str]]:
    """What goes wrong on the page, and whom it asks."""
    wrong: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    return wrong, asked


@pytest.mark.browser
async def test_every_operation_and_schema_can_be_read_and_found(
    installation: Installation, browser_executable: Path
) -> None:
    gateway = await installation.gateway()
    api = (await gateway.http.get("/openapi.json")).json()
    names = [one["operationId"] for methods in api["paths"].values() for one in methods.values()]

    async with browser(browser_executable) as context:
        page = await context.new_page()
        wrong, asked = watched(page)
        await page.goto(gateway.url)
        await page.get_by_role("link", name="API", exact=True).click()
        await expect(page.locator("#version")).to_contain_text(api["info"]["version"])

        for name in names:
            await expect(page.locator(f"article#{name}")).to_have_count(1)
        assert await page.locator("article").count() == len(names) + len(api["components"]["schemas"])
        targets = await page.evaluate(
            "[...document.querySelectorAll('a[href^=\"#\"]')].filter((a) => !document.querySelector(a.hash)).length"
        )
        assert targets == 0, "each link leads somewhere"

        publish = page.locator("article#publish")
        await expect(publish).to_contain_text("/whip/{namespace}/{name}")
        await expect(publish).to_contain_text("application/sdp")
        await expect(publish).to_contain_text("A token for the role publish; none is needed where")
        await expect(publish).to_contain_text("409")
        await expect(page.locator("article#sessionEvents")).to_contain_text("event stats: StreamReport")

        await page.get_by_role("link", name="PATCH control").click()
        await expect(page.locator("article#control")).to_be_in_viewport()
        await page.goto(f"{gateway.url}/docs#schema-StreamReport")
        await expect(page.locator("article#schema-StreamReport")).to_be_in_viewport()

        await page.set_viewport_size({"width": 390, "height": 800})
        wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0, "a phone need not scroll sideways"
        assert wrong == []
        assert {url.startswith(gateway.url) for url in asked} == {True}


@pytest.mark.browser
async def test_a_description_that_cannot_be_read_is_said(installation: Installation, browser_executable: Path) -> None:
    gateway = await installation.gateway()
    async with browser(browser_executable) as context:
        page = await context.new_page()
        await page.route("**/openapi.json", lambda route: route.fulfill(status=503, body=""))
        await page.goto(f"{gateway.url}/docs")
        await expect(page.locator("#version")).to_contain_text("cannot be read: 503")
