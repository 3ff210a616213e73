"""A running Genlock to do harm to: its own Redis, workers, gateways, and streams that are published and watched."""

import asyncio
import contextlib
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import httpx

from bench.chaos.processes import StagedGenlock, relay_for
from bench.chaos.relay import Relay
from bench.chaos.server import Server
from bench.chaos.toll import Strike, Toll, mistakes
from bench.running import MOCK, TINY, local_genlock, state_of
from e2e.watcher import Watcher
from genlock_cli.encoded_source import COUNTER_BITS
from genlock_cli.up.children import Child, ChildState
from genlock_cli.up.local import LocalGenlock
from genlock_core.claims.claims import Claims
from genlock_core.spec.engines import EngineKind
from genlock_core.spec.session import ResolvedSession, SessionKey, StreamSessionSpec, resolve
from genlock_core.store import connect

logger = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""All has to be well so long after the harm is over: a machine that is busy starts processes slowly."""
LOOK_EVERY_S = 0.1
FRAME_RATE = 8
SICK_S = 6.0
"""For so long a store, a machine or a client is not as it should be: longer than a lease."""
SINKS_AFTER = 6
"""Chunks after which a ring has all its sinks."""
STEADY_FRAMES = 2 * FRAME_RATE
NUMBERED = {"mock": 2**COUNTER_BITS, "diffusion": 1}
"""How far the source's numbers can be told apart in a picture: `tiny` repaints them until nobody can read them."""
ENGINES = {"mock": MOCK, "diffusion": TINY}
SPEC = {
    "qualityMode": "balanced",
    "steps": 1,
    "prompt": "thick oil paint",
    "seed": 7,
    "frameRate": FRAME_RATE,
    "source": {"type": "webrtc"},
    "access": {"publish": "Public", "view": "Public"},
    "slo": {"frameDeadline": "2s"},
}
SIZES = {"mock": {"width": 256, "height": 144}, "diffusion": {"width": 128, "height": 128}}


class NotWell(Exception):
    """All was not well again in time; the message says what was missing."""


@dataclass(eq=False)
class Stream:
    """One session, its publisher's process and its watcher. `sinks` is the digest that has to stay."""

    name: str
    gateway: str
    state: Path
    """Where its Genlock keeps its secrets."""
    watcher: Watcher
    publisher: asyncio.subprocess.Process
    sinks: str = ""

    async def view(self) -> dict[str, Any]:
        """The session as its gateway tells it; {} while that does not answer."""
        with contextlib.suppress(httpx.HTTPError):
            async with httpx.AsyncClient(timeout=5.0) as http:
                answer = await http.get(f"{self.gateway}/api/v1/sessions/{self.name}")
            if answer.is_success:
                return dict(answer.json())
        return {}

    async def publish_again(self) -> None:
        """Another publisher, as the one before has gone without a word."""
        await self.leave()
        self.publisher = await publisher_of(self.name, self.gateway, self.state)

    async def leave(self) -> None:
        """End the publisher, whatever state it is in."""
        with contextlib.suppress(ProcessLookupError):
            self.publisher.kill()
        await self.publisher.wait()


@dataclass(eq=False)
class Stage:
    """What harm can be done to. Everything on it comes back by itself; Redis is started again by who killed it."""

    genlock: LocalGenlock
    server: Server
    """The Redis, for as long as no other one takes its place."""
    relay: Relay | None
    """Through which connections pass; None: they go straight."""
    folder: Path
    """For files that are of no use afterwards."""
    claims: Claims
    random: Random
    """Chooses what is hit."""
    sick_s: float = SICK_S
    spared: frozenset[str] = frozenset()
    """Processes that are not ended, so that they get old. They may hang all the same."""
    streams: list[Stream] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def up(
        cls,
        engine: EngineKind,
        *,
        sessions: int,
        workers: int,
        gateways: int = 2,
        seed: int = 0,
        sick_s: float = SICK_S,
        relayed: bool = False,
        spared: frozenset[str] = frozenset(),
    ) -> AsyncIterator["Stage"]:
        """All of it, with each stream steady, until the block ends; `relayed`: its connections can vanish.

        Raises NotWell.
        """
        kind = ENGINES[engine]
        names = [f"default/chaos-{number}" for number in range(sessions)]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            async with AsyncExitStack() as stack:
                server = Server.on(folder / "redis")
                stack.callback(lambda: stage.server.process.stop())
                server.process.start()

                relay: Relay | None = None
                listens: dict[str, str] = {}
                if relayed:
                    doors = relay_for(workers=workers, gateways=gateways, redis_port=server.process.port)
                    relay, listens = await stack.enter_async_context(doors)

                genlock = local_genlock(
                    kind,
                    [_session(name, engine) for name in names],
                    folder,
                    workers=workers,
                    gateways=gateways,
                    redis_url=server.process.url,
                    make=partial(StagedGenlock, relay=relay, listens=listens),
                )
                store = connect(server.process.url)
                stack.push_async_callback(store.aclose)
                stage = cls(genlock, server, relay, folder, Claims(store), Random(seed), sick_s, spared)
                stack.push_async_callback(genlock.stop)
                await genlock.start()
                if genlock.refused:
                    raise NotWell("; ".join(f"{one.session}: {one.reason}" for one in genlock.refused))
                for number, name in enumerate(names):
                    await stage._go_live(stack, name, genlock.gateway_urls[number % gateways], NUMBERED[engine])
                await stage.well()
                yield stage

    async def _go_live(self, stack: AsyncExitStack, name: str, gateway: str, numbered: int) -> None:
        state = state_of(self.genlock)
        publisher = await publisher_of(name, gateway, state)
        watching = Watcher.watching(f"{gateway}/whep/{name}", numbered=numbered)
        try:
            watcher = await stack.enter_async_context(watching)
        except BaseException:
            publisher.kill()
            raise
        stream = Stream(name, gateway, state, watcher, publisher)
        stack.push_async_callback(stream.leave)
        self.streams.append(stream)

    @property
    def names(self) -> list[str]:
        """Of all streams."""
        return [stream.name for stream in self.streams]

    @staticmethod
    def now_s() -> float:
        return asyncio.get_running_loop().time()

    def any_stream(self) -> Stream:
        return self.random.choice(self.streams)

    def children(self, role: str) -> list[Child]:
        return [child for child in self.genlock.children if child.plan.role == role]

    def mortal(self, role: str) -> list[Child]:
        """Those that may be ended."""
        return [child for child in self.children(role) if child.plan.name not in self.spared]

    async def mortal_worker(self) -> Child:
        """One that may be ended, and that makes a stream if there is such a one."""
        mortal = self.mortal("worker")
        busy = [child for stream in self.streams if (child := await self.worker_of(stream)) in mortal]
        return self.random.choice(busy or mortal)

    async def worker_of(self, stream: Stream) -> Child:
        """The worker that makes this stream."""
        record = await self.claims.record(stream.name)
        owner = record.owner.name if record is not None and record.owner is not None else ""
        return next(
            (child for child in self.children("worker") if child.plan.name == owner), self.children("worker")[0]
        )

    async def streams_of(self, *children: Child) -> list[str]:
        """The names of the streams that one of these workers or gateways carries."""
        names = {child.plan.name for child in children}
        owners = await self._owners()
        urls = [url for number, url in enumerate(self.genlock.gateway_urls) if f"g{number}" in names]
        return [one.name for one in self.streams if owners.get(one.name, ("", 0))[0] in names or one.gateway in urls]

    def gateway_of(self, stream: Stream) -> Child:
        number = self.genlock.gateway_urls.index(stream.gateway)
        return next(child for child in self.children("gateway") if child.plan.name == f"g{number}")

    # -- whether all is well ----------------------------------------------------------------------------------------

    async def well(self) -> None:
        """Wait until every process is up, every stream is live and moves, and the books are right. Raises NotWell."""
        await until(self._missing, f"within {PATIENCE_S:g} s")
        steady = (stream.watcher.frames(STEADY_FRAMES, within_s=PATIENCE_S) for stream in self.streams)
        for stream, outcome in zip(self.streams, await asyncio.gather(*steady, return_exceptions=True), strict=True):
            if isinstance(outcome, TimeoutError):
                raise NotWell(f"{stream.name}: {outcome}") from outcome
            if isinstance(outcome, BaseException):
                raise outcome

    async def _missing(self) -> str:
        """What is not well, "" if all is."""
        late = [child.plan.name for child in self.genlock.children if child.state is not ChildState.READY]
        if late:
            return f"{', '.join(late)} not ready"
        for stream in self.streams:
            view = await stream.view()
            told = view.get("stats") or {}
            if view.get("phase") != "Live" or told.get("chunk", 0) < SINKS_AFTER or not told.get("sinkDigest"):
                return f"{stream.name} is {view.get('phase', 'not told of')}, {view.get('state', '')}"
            before, stream.sinks = stream.sinks or told["sinkDigest"], told["sinkDigest"]
            if stream.sinks != before:
                raise NotWell(f"{stream.name}: its sinks changed")
        return "; ".join(await self.mistakes())

    async def mistakes(self) -> list[str]:
        """What is wrong in the books."""
        records, workers = await self.claims.records(), await self.claims.workers()
        return mistakes(records, workers, self.names)

    # -- harm -------------------------------------------------------------------------------------------------------

    async def suffer(
        self, harm: str, strike: Callable[["Stage"], Awaitable[Collection[str]]], *, moves: bool = True
    ) -> Strike:
        """Do it, wait until all is well again, and say what it cost each stream, and what was not as it should be.

        `strike` says the names of the streams that it hits.
        """
        at = time.strftime("%H:%M:%S", time.gmtime())
        troubles: list[str] = []
        hit: Collection[str] = self.names
        before = await self._owners()
        with contextlib.ExitStack() as stack:
            suffered = [stack.enter_context(stream.watcher.since()) for stream in self.streams]
            try:
                hit = await strike(self)
                await self.well()
            except NotWell as error:
                troubles.append(str(error))
            except Exception as error:  # whatever harm does to the bench itself: the other figures are kept
                logger.exception("%s", harm)
                troubles.append(f"{type(error).__name__}: {error}")
        after = await self._owners()

        moved = tuple(name for name in after if after[name] != before.get(name))
        if moved and not moves:
            troubles.append(f"{', '.join(moved)} moved, though no worker was hurt")
        tolls = tuple(
            Toll(harm, stream.name, stream.name in hit, one.longest_s, one.steps_back, len(one.cuts))
            for stream, one in zip(self.streams, suffered, strict=True)
        )
        troubles += [f"{toll.stream}: {toll.back} pictures went back" for toll in tolls if toll.back]
        restored = tuple(after[name][0] for name in moved)
        return Strike(harm, at, tolls, tuple(troubles), restored)

    async def _owners(self) -> dict[str, tuple[str, int]]:
        """Session -> worker and epoch."""
        records = await self.claims.records()
        return {one.name: (one.owner.name if one.owner else "", one.epoch) for one in records}


def _session(name: str, engine: EngineKind) -> ResolvedSession:
    own = ENGINES[engine].spec
    spec = {**SPEC, **own, "frameRate": FRAME_RATE, "slo": SPEC["slo"], "resolution": SIZES[engine]}
    return resolve(SessionKey.parse(name), StreamSessionSpec.model_validate(spec))


async def publisher_of(name: str, gateway: str, state: Path) -> asyncio.subprocess.Process:
    """`genlock publish` of the test card, which comes back by itself when its gateway goes."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "genlock_cli.main", "publish", "testsrc", name, "--fps", str(FRAME_RATE)),
        *("--bitrate", "400", "--gateway", gateway, "--state-dir", str(state), "--json"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def until(missing: Callable[[], Awaitable[str]], in_time: str, *, patience_s: float = PATIENCE_S) -> None:
    """Wait until nothing is missing. Raises NotWell with what was missing last."""
    clock = asyncio.get_running_loop()
    deadline_s = clock.time() + patience_s
    while words := await missing():
        if clock.time() > deadline_s:
            raise NotWell(f"not {in_time}: {words}")
        await asyncio.sleep(LOOK_EVERY_S)
