"""Chromium with Genlock's own pages, and with pages of one's own that know WHIP and WHEP and nothing else."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from playwright.async_api import Page, Response, Route

from genlock_core.process.tasks import OwnedTasks
from tests.clients.heard import Heard
from tests.clients.laboratory import Client, Laboratory
from tests.clients.needs import Need
from tests.clients.proof import Way
from tests.clients.runs import Start, publishing, watching
from tests.clients.site import Visit

_LAB = "/lab"
"""Where a page of the gateway's origin finds the laboratory."""
_LOOK = f"""
document.addEventListener("DOMContentLoaded", async () => {{
  const {{ look }} = await import("{_LAB}/report.js");
  look(document.querySelector("#result"));
}});
"""
"""Counts what our watch page shows, from its first picture on."""


@asynccontextmanager
async def _page(lab: Laboratory, visit: Visit) -> AsyncIterator[Page]:
    """A page in a context of its own, with a camera that it may use. What the browser says is overheard."""
    browser = await lab.chromium()
    context = await browser.new_context(permissions=["camera"])
    page = await context.new_page()
    try:
        page.on("console", lambda message: visit.heard.overhear(message.text))
        page.on("pageerror", lambda error: visit.heard.overhear(str(error)))
        await page.route(f"**{_LAB}/**", lambda route: _from_the_laboratory(lab, route))
        await visit.heard.hear({"event": "version", "version": f"Chromium {browser.version}"})
        yield page
    finally:
        # A page that failed may still wait for an answer of the laboratory.
        await page.unroute_all(behavior="ignoreErrors")
        await context.close()


async def _from_the_laboratory(lab: Laboratory, route: Route) -> None:
    """A page of the gateway's origin gets the laboratory's files from there, and reports there."""
    asked = urlsplit(route.request.url)
    response = await route.fetch(url=f"{lab.site.origin}{asked.path.removeprefix(_LAB)}?{asked.query}", timeout=0)
    await route.fulfill(response=response)


def _ours(path: str, *, camera: bool) -> Start:
    """One of Genlock's pages, whose own requests tell when it offers."""

    @asynccontextmanager
    async def start(lab: Laboratory, client: Client, url: str) -> AsyncIterator[Heard]:
        visit, _ = lab.site.visit(client.id, "")
        heard = visit.heard
        tasks = OwnedTasks()

        async def tell(response: Response) -> None:
            await heard.hear({"event": "offer", "unixMs": response.request.timing["startTime"]})
            await heard.hear({"event": "answer", "status": response.status, "sdp": await response.text()})

        def on_response(response: Response) -> None:
            if response.request.method == "POST" and response.url == url:
                tasks.start(tell(response), name="offer of the page")

        async with _page(lab, visit) as page:
            page.on("response", on_response)
            if not camera:
                await page.add_init_script(_LOOK)
            await page.goto(f"{lab.up.url}{path}/{url.partition('/default/')[2]}?visit={client.id}")
            if camera:
                await page.get_by_role("button", name="Turn the camera on").click()
            yield heard
        await tasks.end()

    return start


def _page_of(page: str, where: Callable[[Laboratory], str]) -> Start:
    """A page of the laboratory, at the address that `where` says."""

    @asynccontextmanager
    async def start(lab: Laboratory, client: Client, url: str) -> AsyncIterator[Heard]:
        visit, path = lab.site.visit(client.id, page, way=client.way, url=url)
        async with _page(lab, visit) as tab:
            await tab.goto(f"{where(lab)}{path}")
            yield visit.heard
            visit.over.set()
            await visit.heard.event("left")

    return start


def _own_origin(lab: Laboratory) -> str:
    return f"{lab.up.url}{_LAB}"


def _other_origin(lab: Laboratory) -> str:
    return lab.site.origin


CLIENTS = (
    Client(
        "chromium-studio",
        "Chromium, the studio",
        Way.PUBLISH,
        "the page `/studio/default/demo`, *Turn the camera on*",
        publishing(_ours("/studio/default", camera=True)),
        (Need.CHROMIUM,),
    ),
    Client(
        "chromium-watch-page",
        "Chromium, the watch page",
        Way.WATCH,
        "the page `/watch/default/demo`",
        watching(_ours("/watch/default", camera=False)),
        (Need.CHROMIUM,),
    ),
    Client(
        "chromium",
        "Chromium, a bare snippet",
        Way.PUBLISH,
        "[bare.js](../tests/clients/programs/web/bare.js): `RTCPeerConnection()` and one `fetch`",
        publishing(_page_of("bare.html", _own_origin)),
        (Need.CHROMIUM,),
    ),
    Client(
        "chromium",
        "Chromium, a bare snippet",
        Way.WATCH,
        "[bare.js](../tests/clients/programs/web/bare.js): `RTCPeerConnection()` and one `fetch`",
        watching(_page_of("bare.html", _own_origin)),
        (Need.CHROMIUM,),
    ),
    Client(
        "chromium-elsewhere",
        "Chromium, a page of another site",
        Way.WATCH,
        "[bare.js](../tests/clients/programs/web/bare.js) on another origin, which the session names: "
        "`access: {view: Public, origins: [...]}`",
        watching(_page_of("bare.html", _other_origin)),
        (Need.CHROMIUM,),
    ),
    Client(
        "eyevinn-whip",
        "@eyevinn/whip-web-client in Chromium",
        Way.PUBLISH,
        "`new WHIPClient({endpoint, opts: {}})`, `setIceServersFromEndpoint()`, `ingest(camera and microphone)`",
        publishing(_page_of("eyevinn.html", _own_origin)),
        (Need.CHROMIUM, Need.NODE),
    ),
    Client(
        "eyevinn-player",
        "@eyevinn/webrtc-player in Chromium",
        Way.WATCH,
        '`new WebRTCPlayer({video, type: "whep"})`, `load(url)`',
        watching(_page_of("eyevinn.html", _own_origin)),
        (Need.CHROMIUM, Need.NODE),
    ),
)
