"""A real browser shows a session on a page of another origin, if the session's owner named it, and steers nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Frame, Page

from tests.gateway.installation import Installation, Running
from tests.process.pages import browser, playing, until

SNIPPET = """
async (url) => {
  const peer = new RTCPeerConnection();
  const channel = peer.createDataChannel("control");
  window.heard = [];
  channel.onmessage = ({ data }) => heard.push(JSON.parse(data));
  channel.onopen = () => channel.send(JSON.stringify({ type: "control", number: 1, prompt: "from another site" }));
  peer.addTransceiver("video", { direction: "recvonly" });
  peer.ontrack = ({ streams }) => { document.getElementById("result").srcObject = streams[0]; };
  await peer.setLocalDescription(await peer.createOffer());
  const headers = { "Content-Type": "application/sdp" };
  const answer = await fetch(url, { method: "POST", headers, body: peer.localDescription.sdp });
  if (answer.status !== 201) return { status: answer.status };
  await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  const [location, etag, link] = ["Location", "ETag", "Link"].map((name) => answer.headers.get(name));
  window.leave = async () => (await fetch(new URL(location, url), { method: "DELETE" })).status;
  return { status: answer.status, location, etag, link };
}
"""
"""WHEP as anybody would write it, with the hope to steer."""


@asynccontextmanager
async def another_site(html: str) -> AsyncIterator[str]:
    """Serves one page, on a port of its own: the origin of that page."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = html.encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def live(installation: Installation, *, origins: list[str]) -> Running:
    """A gateway with a live session that everybody may publish, steer and view."""
    gateway, _ = await installation.gateway(), await installation.worker()
    await installation.session(access={"publish": "Public", "view": "Public", "origins": origins})
    await installation.publish(gateway)
    return gateway


def framed(page: Page) -> Frame:
    (frame,) = page.main_frame.child_frames
    return frame


async def frame_shows(page: Page, url: str) -> Frame:
    """The page's frame, once it has loaded `url`."""
    show = f"document.querySelector('iframe').src = '{url}'"
    async with page.expect_event("framenavigated", lambda frame: frame.url == url and frame.parent_frame is not None):
        await page.evaluate(show)
    await framed(page).wait_for_load_state()
    return framed(page)


@pytest.mark.browser
async def test_a_page_that_the_owner_named_plays_by_a_bare_whep_request_and_does_not_steer(
    installation: Installation, browser_executable: Path
) -> None:
    async with another_site("<!doctype html><video id=result autoplay muted></video>") as origin:
        gateway = await live(installation, origins=[origin])
        async with browser(browser_executable) as context:
            page = await context.new_page()
            await page.goto(origin)
            made = await page.evaluate(SNIPPET, f"{gateway.url}/whep/default/demo")
            assert made["status"] == 201
            assert made["location"].startswith("/whep/default/demo/g0/")
            assert made["etag"]
            assert "server-sent-events" in made["link"]
            await playing(page)

            # It opened a channel and asked to steer: the POST's origin decides, as a channel has none.
            await until(page, "heard.some(({ type }) => type === 'error')", what="a refusal")
            heard = await page.evaluate("heard")
            assert [one["detail"] for one in heard if one["type"] == "error"] == [
                "to control, connect with a publish token"
            ]
            assert [one for one in heard if one["type"] == "ack"] == []
            record = await installation.claims.record("default/demo")
            assert record is not None
            assert dict(record.control) == {}
            assert await page.evaluate("leave()") == 200


@pytest.mark.browser
async def test_a_page_that_nobody_named_does_not_play(installation: Installation, browser_executable: Path) -> None:
    async with another_site("<!doctype html><video id=result autoplay muted></video>") as origin:
        gateway = await live(installation, origins=["http://127.0.0.1:9", "https://www.example.org"])
        async with browser(browser_executable) as context:
            page = await context.new_page()
            await page.goto(origin)
            assert await page.evaluate(SNIPPET, f"{gateway.url}/whep/default/demo") == {"status": 401}


@pytest.mark.browser
async def test_a_page_without_an_origin_plays_only_where_all_pages_may(
    installation: Installation, browser_executable: Path
) -> None:
    """A sandboxed frame: its requests say `Origin: null`, whatever site it is on."""
    sandboxed = "<!doctype html><video id=result autoplay muted></video><iframe sandbox=allow-scripts></iframe>"
    async with another_site(sandboxed) as origin:
        gateway = await live(installation, origins=["*"])
        await installation.session("named", access={"view": "Public", "origins": [origin]})
        async with browser(browser_executable) as context:
            page = await context.new_page()
            await page.goto(origin)
            frame = await frame_shows(page, f"{origin}/framed")
            assert await frame.evaluate("window.origin") == "null"
            assert await frame.evaluate(SNIPPET, f"{gateway.url}/whep/default/named") == {"status": 401}
            made = await frame.evaluate(SNIPPET, f"{gateway.url}/whep/default/demo")
            assert made["status"] == 201
            await playing(frame)


@pytest.mark.browser
async def test_the_watch_page_plays_in_a_frame_of_the_page_that_the_owner_named_and_in_no_other(
    installation: Installation, browser_executable: Path
) -> None:
    html = "<!doctype html><iframe width=480 height=300></iframe>"
    async with another_site(html) as origin, another_site(html) as stranger:
        gateway = await live(installation, origins=[origin])
        async with browser(browser_executable) as context:
            page = await context.new_page()
            watch = f"{gateway.url}/watch/default/demo"
            await page.goto(origin)
            await playing(await frame_shows(page, watch))

            await page.goto(stranger)
            await page.evaluate(f"document.querySelector('iframe').src = '{watch}'")
            await asyncio.wait_for(blocked(page), 15)


async def blocked(page: Page) -> None:
    """The browser shows what it shows in place of a page that may not be framed."""
    while not framed(page).url.startswith("chrome-error:"):
        await asyncio.sleep(0.05)
