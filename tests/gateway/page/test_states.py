"""Every state of the table in a real browser: what the page calls it, what it offers, and that it is accessible."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, Route

from genlock_cli.redis_server import RedisProcess
from genlock_core.approximation.levels import Level
from genlock_core.claims.facts import Publishing
from genlock_core.media import Trouble
from genlock_core.situation.facts import Pictures
from genlock_core.situation.lowered import Lowered, LoweredReason
from genlock_core.situation.states import SessionState
from genlock_core.situation.table import AT_PAGE
from genlock_core.spec.session import Phase, SourceType
from genlock_core.tokens import Role
from genlock_gateway.access.problems import unavailable
from tests.gateway.page.pictures import take
from tests.gateway.page.stage import Stage, eventually, shows, staged

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
in_one_loop = pytest.mark.asyncio(loop_scope="module")

NO_CAMERA = "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', '{}'))"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory, browser_executable: Path) -> AsyncIterator[Stage]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as redis:
        async with staged(redis.url, browser_executable) as stage:
            yield stage


@dataclass(frozen=True, slots=True)
class Scene:
    """How a page gets into a state: by facts of the gateway, or by what happens to the page."""

    state: SessionState
    facts: dict[str, Any] = field(default_factory=dict)
    session: str = "default/demo"
    role: Role | None = Role.PUBLISH
    published: bool = False
    script: str = ""
    routes: dict[str, Callable[[Route], Awaitable[None]]] = field(default_factory=dict)
    click: str = ""
    offers: tuple[str, ...] = ()
    """The buttons that the words have with them."""

    @property
    def is_told(self) -> bool:
        """By the gateway: the page has no part in it."""
        return self.state not in AT_PAGE


async def _abort(route: Route) -> None:
    await route.abort()


async def _never(_: Route) -> None:
    await asyncio.sleep(0)


async def _full(route: Route) -> None:
    problem = unavailable("this gateway is full", retry_after_s=5, reason="gateway-full")
    await route.fulfill(status=503, body=bytes(problem.response().body), headers={"Retry-After": "5"})


GONE = {"publishing": Publishing.GONE, "phase": Phase.ASSIGNED, "pictures": Pictures.STOPPED}
SCENES = [
    Scene(SessionState.MISSING, session="default/nobody", role=None, offers=("All sessions",)),
    Scene(SessionState.TOKEN_REFUSED, session="default/private", offers=("Use a token", "All sessions")),
    Scene(SessionState.TOKEN_NEEDED, session="default/private", role=None, offers=("Use a token", "All sessions")),
    Scene(
        SessionState.ENDED,
        {"phase": Phase.ENDED, "reason": "Deleted"},
        offers=("Start again", "All sessions"),
    ),
    Scene(
        SessionState.FAILED,
        {"phase": Phase.FAILED, "reason": "the engine gave it up: out of memory"},
        offers=("Start again", "All sessions"),
    ),
    Scene(SessionState.GATEWAY_AWAY, routes={"**/whep/**": _abort}),
    Scene(SessionState.GATEWAY_FULL, routes={"**/whep/**": _full}),
    Scene(SessionState.NO_WORKER, {"busy_workers": 0, "phase": Phase.PENDING}),
    Scene(SessionState.CAPACITY_FULL, {"busy_workers": 2, "phase": Phase.PENDING, "next_room_s": 75.0}),
    Scene(SessionState.RECOVERING, {"phase": Phase.RECOVERING, "reason": "silent"}),
    Scene(
        SessionState.CAMERA_MISSING,
        script=NO_CAMERA.format("NotFoundError"),
        click="Turn the camera on",
        offers=("Try again", "Play a video file"),
    ),
    Scene(
        SessionState.CAMERA_REFUSED,
        script=NO_CAMERA.format("NotAllowedError"),
        click="Turn the camera on",
        offers=("Try again", "Play a video file"),
    ),
    Scene(
        SessionState.CAMERA_BUSY,
        script=NO_CAMERA.format("NotReadableError"),
        click="Turn the camera on",
        offers=("Try again", "Play a video file"),
    ),
    Scene(
        SessionState.CAMERA_INSECURE,
        script="Object.defineProperty(navigator, 'mediaDevices', {value: undefined})",
        click="Turn the camera on",
        offers=("Play a video file",),
    ),
    Scene(SessionState.SOMEBODY_PUBLISHES, click="Turn the camera on", published=True, offers=("Take over",)),
    Scene(SessionState.CONNECTING, routes={"**/whep/**": _never}),
    Scene(SessionState.WAITING_FOR_PUBLISHER, {"publishing": Publishing.NEVER}),
    Scene(SessionState.NOBODY_PUBLISHES, GONE),
    Scene(SessionState.RESTING, {"source": SourceType.FILE, "viewers": 0, "pictures": Pictures.NONE}),
    Scene(SessionState.WAITING_FOR_WORKER, {"phase": Phase.PENDING, "pictures": Pictures.NONE}),
    Scene(SessionState.TROUBLE, {"trouble": Trouble.NO_PARAMETER_SETS}, offers=("Take over",)),
    Scene(SessionState.PAUSED, {"paused": True}, offers=("Go on",)),
    Scene(SessionState.STALLED, {"pictures": Pictures.STOPPED}),
    Scene(SessionState.SOURCE_STILL, {"pictures": Pictures.STOPPED, "source_moves": False}, offers=("Take over",)),
    Scene(SessionState.NOT_ARRIVING, {"publishing": Publishing.NOW, "pictures": Pictures.MOVING}),
    Scene(SessionState.STARTING, {"pictures": Pictures.NONE}),
    Scene(SessionState.TOO_SLOW, {"late_share": 0.28, "strained": True, "steps_asked": 2}, offers=("One step less",)),
    Scene(
        SessionState.LOWERED,
        {
            "lowered": Lowered(
                granted=Level(2), requested=Level(4), frame_rate=16.0, reason=LoweredReason.BUSY, since_ms=0
            )
        },
    ),
    Scene(SessionState.MACHINE_BUSY, {"strained": True}),
    Scene(SessionState.APPROXIMATED, {"steps_asked": 4, "steps_running": 2}),
    Scene(SessionState.LIVE),
]


def test_every_state_has_its_scene() -> None:
    assert [scene.state for scene in SCENES] == list(SessionState)


@in_one_loop
async def test_a_page_shows_each_state_that_the_gateway_tells(stage: Stage) -> None:
    # What is over stops the picture, so it comes last.
    told = sorted((scene for scene in SCENES if scene.is_told), key=lambda scene: "phase" in scene.facts)
    async with stage.published(), stage.page(stage.url("studio", role=Role.PUBLISH)) as page:
        await shows(page, SessionState.LIVE)
        for scene in told:
            with stage.facts(**scene.facts):
                await shows(page, scene.state)
                await offers(page, scene)
                await take(page, scene.state.value)
        # The way back: the page goes on by itself.
        await shows(page, SessionState.LIVE)


@in_one_loop
@pytest.mark.parametrize("scene", [scene for scene in SCENES if not scene.is_told], ids=lambda scene: scene.state.value)
async def test_a_page_finds_out_by_itself(stage: Stage, scene: Scene) -> None:
    async with AsyncExitStack() as stack:
        if scene.published:
            await stack.enter_async_context(stage.published())
        if scene.facts:
            stack.enter_context(stage.facts(**scene.facts))
        page = await stack.enter_async_context(stage.page("about:blank"))
        if scene.script:
            await page.add_init_script(scene.script)
        for pattern, handler in scene.routes.items():
            await page.route(pattern, handler)
        token = "" if scene.role is None else f"#token={stage.token(scene.role)}"
        await page.goto(f"{stage.gateway.url}/studio/{scene.session}{token}")
        if scene.click:
            await page.get_by_role("button", name=scene.click).click()
        await shows(page, scene.state)
        await offers(page, scene)
        await take(page, scene.state.value)


@in_one_loop
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_pages_are_accessible(stage: Stage, scheme: Literal["light", "dark"]) -> None:
    async with stage.published(), stage.page("about:blank", color_scheme=scheme) as page:
        for address in ("", "model"):
            await page.goto(f"{stage.gateway.url}/{address}")
            await accessible(page)
        await page.goto(stage.url("watch"))
        with stage.facts(phase=Phase.RECOVERING, reason="silent"):
            await eventually(page, "document.title.startsWith('Recovering')", what="the title of the viewer")
            await accessible(page)
        for role in (Role.VIEW, Role.PUBLISH):
            await page.goto("about:blank")
            await page.goto(stage.url("studio", role=role))
            await shows(page, SessionState.LIVE)
            await accessible(page)
        await page.get_by_role("button", name="Turn the camera on").click()
        await shows(page, SessionState.SOMEBODY_PUBLISHES)
        await page.get_by_role("button", name="Keyboard shortcuts").click()
        await accessible(page)
        await page.keyboard.press("Escape")
        with stage.facts(phase=Phase.ENDED, reason="Idle"):
            await shows(page, SessionState.ENDED)
            await accessible(page)


async def offers(page: Page, scene: Scene) -> None:
    """And offers what can be done, and no more."""
    cancel = page.get_by_role("button", name="Cancel")
    if await cancel.is_visible():
        await cancel.click()
    offered = await page.locator("[data-offer]:visible").all_inner_texts()
    assert tuple(offered) == scene.offers, scene.state


async def accessible(page: Page) -> None:
    """Nothing that axe-core finds wrong: WCAG AA, contrast with it."""
    found = await Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
