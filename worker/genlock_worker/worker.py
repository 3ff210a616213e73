"""A whole worker in one object: engine loop, link server and agent, started and stopped in the right order.

`main` runs one per process; tests run several in one.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from functools import partial

from genlock_core.claims.claims import Claims
from genlock_core.claims.counters import CounterBoard
from genlock_core.claims.identity import WorkerIdentity, WorkerOffer
from genlock_core.clock import Clock
from genlock_core.errors import GenlockError
from genlock_core.link.connection import LinkConnection, Meter
from genlock_core.link.events import LinkIdentity
from genlock_core.link.messages import LinkRole
from genlock_core.link.server import LinkServer, serve
from genlock_core.metrics import WorkerMetrics
from genlock_core.process.address import Address
from genlock_core.process.tasks import end_tasks, wait_first
from genlock_core.spec.engines import MOST_GPUS, gpus_mistake
from genlock_core.store import Store
from genlock_core.stream_state.control import ControlStream
from genlock_core.stream_state.formats import READABLE
from genlock_core.stream_state.snapshot_store import SnapshotStore
from genlock_worker.engines import create_engine
from genlock_worker.engines.contract import Engine
from genlock_worker.intake.decode import InProcess
from genlock_worker.intake.decoding import Decoding
from genlock_worker.intake.out_of_process.nursery import Nursery
from genlock_worker.output.encode import choose_h264
from genlock_worker.ownership.agent import Agent
from genlock_worker.ownership.counter_page import CounterPage
from genlock_worker.ownership.link_server import GatewayLink
from genlock_worker.ownership.vital_signs import VitalSigns
from genlock_worker.preview.taps import PreviewTaps
from genlock_worker.probes.health import Serving, WorkerHealth
from genlock_worker.probes.start_up import StartPhase
from genlock_worker.rows.cost_model import CostModel
from genlock_worker.rows.engine_client import EngineClient
from genlock_worker.rows.engine_loop import EngineLoop
from genlock_worker.rows.prior import mock_timing, offered_sizes, prior_cost, promised_cost, warm_up_plan
from genlock_worker.rows.warm_up import WarmedUp
from genlock_worker.session.figures import FrameCounts
from genlock_worker.session.opening import Services
from genlock_worker.settings import WorkerSettings
from genlock_worker.snapshots.format import SnapshotFormat
from genlock_worker.snapshots.room import SnapshotRoom
from genlock_worker.snapshots.writer import MAX_SNAPSHOT_BYTES

logger = logging.getLogger(__name__)


class TooManyGpus(GenlockError):
    """The worker was told of more GPUs than its engine computes on: it would be sized as faster than it is."""


class WorkerStopped(Exception):
    """The worker cannot go on; the message says why."""


class Worker:
    """Made -> `start` -> serving -> `drain` (politely) or not -> `stop`."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        store: Store,
        link_secrets: Sequence[bytes],
        engine: Engine,
        clock: Clock,
        metrics: WorkerMetrics,
        health: WorkerHealth,
    ) -> None:
        self.settings = settings
        self.identity = WorkerIdentity.fresh(settings.name)
        self.registry = metrics.registry
        self.health = health
        self.address = ""
        """host:port that gateways connect to, once it is started."""
        self.warmed_up: WarmedUp | None = None
        """What the engine's warm-up took, once it is started; None for an engine that needs none."""
        self._store = store
        self._secrets = link_secrets
        self._engine = engine
        self._clock = clock
        self._claims = Claims(store)
        self._metrics = metrics
        self._frame_counts = FrameCounts()
        self._snapshot_format = SnapshotFormat(self._claims)
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = contextlib.AsyncExitStack()
        """How to end what has been started, the last thing first."""

    async def start(self) -> None:
        """Warm up, listen, register, serve.

        Raises OSError if the address cannot be listened on, WorkerStopped, NurseryFailed.
        """
        # First, as it imports for a while beside the engine's warm-up.
        nursery = self._start_nursery() if self.settings.decode_process else None
        await self._start_engine()
        if nursery is not None:
            await nursery.ready()
        self.vital_signs = VitalSigns(self.engine_client, clock=self._clock, metrics=self._metrics)
        await self._listen()

        # Nobody is sent here before the worker is registered, and by then it can answer.
        self.agent = Agent(self._offer(), await self._services(nursery or InProcess()), self.vital_signs)
        self._ending.push_async_callback(self.agent.close)
        await self.agent.register()

        loops = {
            "heartbeat": self.agent.beat(),
            "inbox": self.agent.follow_inbox(),
            "snapshot format": self._snapshot_format.run(),
            "counters": self._page().keep_posting(),
            "vital signs": self.vital_signs.run(),
        }
        self._tasks = [asyncio.create_task(loop, name=name) for name, loop in loops.items()]
        self._ending.push_async_callback(end_tasks, self._tasks)

        self.health.start_up.reached(StartPhase.REGISTERED)
        self.health.serves(
            Serving(progress=lambda: self.engine_loop.progress, rounds=self.agent.rounds, leaving=self.agent.leaving)
        )

    def _start_nursery(self) -> Nursery:
        nursery = Nursery(clock=self._clock, metrics=self._metrics)
        self._ending.push_async_callback(asyncio.to_thread, nursery.close)
        nursery.start()
        return nursery

    async def _start_engine(self) -> None:
        settings = self.settings
        self.engine_loop = EngineLoop(
            self._engine,
            clock=self._clock,
            cost=CostModel(prior_cost(settings)),
            metrics=self._metrics,
            loop=asyncio.get_running_loop(),
        )
        self._ending.push_async_callback(self.engine_loop.stop)
        self.engine_client = EngineClient(self.engine_loop)
        self._ending.callback(self.engine_client.stop)
        start_up = self.health.start_up
        self.warmed_up = await self.engine_loop.start(
            None if settings.instant else warm_up_plan(settings), tell=start_up.doing
        )
        if self.engine_loop.thread.crashed.done():
            raise WorkerStopped(f"the engine cannot run: {self.engine_loop.thread.crashed.result()}")

        start_up.reached(StartPhase.ENGINE, "" if self.warmed_up is None else str(self.warmed_up))

    async def _listen(self) -> None:
        settings = self.settings
        traffic = self._metrics.link_bytes
        self.previews = PreviewTaps(
            lambda session: self.agent.sessions.get(session), clock=self._clock, metrics=self._metrics
        )
        self._ending.push_async_callback(self.previews.close)

        self._server: LinkServer = await serve(
            settings.listen.host,
            settings.listen.port,
            self._serve_gateway,
            identity=LinkIdentity(LinkRole.WORKER, settings.name, self.identity.incarnation),
            secrets=self._secrets,
            clock=self._clock,
            pulse=lambda: self.vital_signs.pulse,
            meter=Meter(received=traffic.labels("in").inc, sent=traffic.labels("out").inc),
        )
        self._ending.push_async_callback(self._close_server)
        self.address = advertised(self._server.address, settings.advertise)

    def _offer(self) -> WorkerOffer:
        settings = self.settings
        return WorkerOffer(
            identity=self.identity,
            pool=settings.pool,
            model=self._engine.model,
            capacity=settings.capacity,
            address=self.address,
            formats=READABLE,
            gpu_product=settings.gpu_product,
            gpus=self._engine.devices,
            engine=settings.engine,
            halves=True,
        )

    async def _services(self, decoding: Decoding) -> Services:
        return Services(
            engine=self.engine_client,
            claims=self._claims,
            control=ControlStream(self._store),
            snapshots=SnapshotStore(self._store, max_bytes=MAX_SNAPSHOT_BYTES),
            snapshot_room=SnapshotRoom(self._clock, self._metrics),
            clock=self._clock,
            metrics=self._metrics,
            frame_counts=self._frame_counts,
            h264=await asyncio.to_thread(choose_h264),
            media_root=self.settings.media_root,
            decoding=decoding,
            snapshot_format=self._snapshot_format,
        )

    def _page(self) -> CounterPage:
        return CounterPage(
            CounterBoard(self._store),
            identity=self.identity,
            pool=self.settings.pool,
            counts=self._frame_counts,
            engine=self.engine_client,
            promised=partial(promised_cost, self.settings),
        )

    async def _serve_gateway(self, connection: LinkConnection) -> None:
        link = GatewayLink(connection, directory=self.agent, previews=self.previews, metrics=self._metrics)
        await link.serve()

    async def wait(self) -> None:
        """Until it cannot go on. Raises WorkerStopped."""
        accepting = self._server.accepting
        await wait_first(self.agent.superseded, self.engine_loop.thread.crashed, accepting, *self._tasks)
        if self.engine_loop.thread.crashed.done():
            raise WorkerStopped(f"the engine thread ended ({self.engine_loop.thread.crashed.result()})")
        if self.agent.superseded.is_set():
            raise WorkerStopped(f"a newer process has the name {self.settings.name}")
        if accepting.done():
            raise WorkerStopped("no gateway can link any more") from accepting.exception()
        failed = next(task for task in self._tasks if task.done())
        raise WorkerStopped("the agent ended") from failed.exception()

    async def drain(self) -> bool:
        """Move every session away; True when nobody is left. Only once it is started."""
        return await self.agent.drain(self.settings.drain_timeout_s)

    async def stop(self) -> None:
        """Stop at once, also in the middle of the start; what was not moved is moved once its lease has run out."""
        await self._ending.aclose()

    async def _close_server(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                await self._server.close("the worker stops")


def advertised(listening: str, advertise: Address | None) -> str:
    """The address that gateways are told: port 0 of `advertise` stands for the port listened on."""
    if advertise is None:
        return listening
    return str(Address(advertise.host, advertise.port or Address.parse(listening).port))


def make_engine(settings: WorkerSettings, clock: Clock) -> Engine:
    """The engine of these settings; may take minutes. Raises GenlockError (TooManyGpus), ValueError."""
    # A model is not loaded for minutes, only to be refused then.
    mistake = gpus_mistake(settings.engine, settings.devices)
    if mistake:
        raise TooManyGpus(f"{mistake}: start it with --gpus {MOST_GPUS[settings.engine]}")

    engine = create_engine(
        settings.engine,
        model=settings.model,
        clock=clock,
        devices=settings.devices,
        depth=settings.batches,
        timing=lambda: mock_timing(settings),
        diffusion=settings.diffusion,
        sizes=offered_sizes(settings),
    )

    # What it says itself decides: its speed is sold by it.
    if settings.devices > engine.devices:
        raise TooManyGpus(f"the engine computes on {engine.devices} GPUs, not on {settings.devices} (--gpus)")
    return engine
