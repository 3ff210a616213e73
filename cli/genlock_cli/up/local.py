"""`genlock up` itself: start Redis, workers and gateways, create the sessions, keep all alive, stop in order."""

import asyncio
import logging
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from redis.exceptions import RedisError

from genlock_cli.exit_status import Unreachable
from genlock_cli.redis_server import RedisProcess
from genlock_cli.state_dir import NotWritable, Running, RunningProcess, StateDir, UpState
from genlock_cli.up.children import Child, ChildState
from genlock_cli.up.lan import keep_links, links
from genlock_cli.up.plan import ChildPlan, UpOptions, gateway_url, plan_gateways, plan_workers, pool_shapes
from genlock_cli.up.ports import check_https, check_port
from genlock_core.claims.claims import Claims
from genlock_core.claims.record import SessionRecord
from genlock_core.clock import Clock
from genlock_core.errors import BadInput, GenlockError, NoCapacity
from genlock_core.process.logs import masked
from genlock_core.process.tasks import end_tasks
from genlock_core.sizing.placement import Unplaceable, place
from genlock_core.sizing.profile import profiles_with
from genlock_core.spec.session import ResolvedSession
from genlock_core.store import StoreUnusable, check, connect
from genlock_core.tokens import ALL_SESSIONS, SECRETS_FILE_VARIABLE, SECRETS_VARIABLE, Role
from genlock_gateway.rtc.transport.own_addresses import bind_addresses

REDIS_WATCH_S = 0.5
CLAIM_ATTEMPTS = 20
CLAIM_RETRY_S = 0.25

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A session of the manifest that cannot be served here, and why."""

    session: str
    reason: str


class LocalGenlock:
    """Everything of one `genlock up`.

    States: new -> up (`start` returned) -> down (`stop`). `on_change` is called whenever a child changes its state;
    `progress` gets one line for each thing that a person waits for.
    """

    def __init__(
        self,
        options: UpOptions,
        sessions: Sequence[ResolvedSession],
        *,
        state: StateDir,
        redis_url: str | None,
        clock: Clock,
        progress: Callable[[str], None],
        on_change: Callable[[Child], None],
    ) -> None:
        self.options = options
        self.sessions = tuple(sessions)
        self.children: list[Child] = []
        self.refused: list[Refusal] = []
        self._state = state
        self._redis_url = redis_url
        self._redis: RedisProcess | None = None
        self._redis_watch: asyncio.Task[None] | None = None
        self._clock = clock
        self._progress = progress
        self._on_change = on_change
        self._life = UpState.STARTING
        self._began_at = clock.wall_ms() / 1_000

    @property
    def gateway_urls(self) -> tuple[str, ...]:
        return tuple(gateway_url(self.options, index) for index in range(self.options.gateways))

    @property
    def media_addresses(self) -> tuple[str, ...]:
        """The IP addresses that media goes over, as they are now."""
        return tuple(bind_addresses(self.options.media_hosts))

    @property
    def lan_links(self) -> tuple[str, ...]:
        """For phones of the network: a link for each session, with a token; none without --lan."""
        lan = self.options.lan
        return () if lan is None else self._links(lan.url)

    @property
    def own_links(self) -> tuple[str, ...]:
        """The same for browsers of this machine."""
        return () if self.options.lan is None else self._links(self.gateway_urls[0])

    @property
    def links_file(self) -> Path:
        """Where the links for the network stand while it is up."""
        return self._state.links_file

    def admin_token(self) -> str:
        """A token with which all sessions are seen."""
        return self._state.keyring().token(ALL_SESSIONS, Role.ADMIN)

    def _links(self, base: str) -> tuple[str, ...]:
        return links(base, self.sessions, self._state.keyring(), now_s=self._clock.wall_ms() / 1_000)

    async def start(self) -> None:
        """Bring everything up. Raises GenlockError: a taken port, no redis-server, a child that does not start."""
        self._announce()
        for index in range(self.options.gateways):
            check_port(self.options.host, self.options.port + index, media=self.media_addresses)
            if self.options.lan is not None:
                check_https(self.options.lan.addresses, self.options.lan.port + index)
        keyring = self._state.keyring()
        if self._redis_url is not None:
            await check_redis(self._redis_url)
        redis_url = self._redis_url or self._start_redis()
        self._progress(f"starting {self.options.workers} workers and {self.options.gateways} gateway(s)")
        plans = (
            *plan_workers(self.options, self.sessions, redis_url=redis_url),
            *plan_gateways(self.options, redis_url=redis_url),
        )
        self.children = [self._child(plan) for plan in plans]
        for child in self.children:
            child.start()
        await asyncio.gather(*(child.ready() for child in self.children))
        self._progress("creating the sessions")
        await self._create_sessions(redis_url, key_ids=keyring.key_ids)
        if self.options.lan is not None:
            keep_links(self._state.links_file, self.lan_links)
        self._life = UpState.UP
        self._announce()

    async def stop(self) -> None:
        """Gateways first, then workers, then Redis; with SIGINT, as there is nowhere to drain to."""
        self._life = UpState.STOPPING
        self._announce()
        for role in ("gateway", "worker"):
            await asyncio.gather(*(child.stop(signal.SIGINT) for child in self.children if child.plan.role == role))
        if self._redis_watch is not None:
            await end_tasks([self._redis_watch])
        if self._redis is not None:
            self._redis.stop()
        self._state.forget()

    def _announce(self) -> None:
        """Tell the other commands what runs here. A disk that is full now is no reason to stop what runs."""
        processes = [
            RunningProcess(child.plan.name, child.plan.role, child.state, child.pid, child.restarts)
            for child in self.children
        ]
        if self._redis is not None:
            state = ChildState.READY if self._redis.running else ChildState.STOPPED
            processes.append(RunningProcess("redis", "redis", state, self._redis.pid, 0))
        running = Running(
            pid=os.getpid(),
            gateways=self.gateway_urls,
            redis=self._redis_url or (self._redis.url if self._redis is not None else ""),
            state=self._life,
            began_at=self._began_at,
            processes=tuple(processes),
            refused=tuple(f"{refusal.session}: {refusal.reason}" for refusal in self.refused),
        )
        try:
            self._state.announce(running)
        except NotWritable as error:
            logger.warning("%s", error)

    def _changed(self, child: Child) -> None:
        self._announce()
        self._on_change(child)

    def _start_redis(self) -> str:
        directory = self._state.path / "redis"
        shutil.rmtree(directory, ignore_errors=True)  # sessions come from the manifest, not from the last run
        self._redis = RedisProcess(directory, append_only=True)
        self._progress("starting Redis")
        self._redis.start()
        self._redis_watch = asyncio.create_task(self._keep_redis(self._redis), name="redis")
        return self._redis.url

    async def _keep_redis(self, redis: RedisProcess) -> None:
        while True:
            await asyncio.sleep(REDIS_WATCH_S)
            if not redis.running:
                logger.warning("redis-server ended; starting it again with its data")
                try:
                    redis.start()
                except GenlockError as error:
                    logger.error("%s", error)

    def _child(self, plan: ChildPlan) -> Child:
        return Child(
            plan,
            # Its own secrets, also where the environment has those of a cluster, which would come first.
            environment={SECRETS_VARIABLE: "", SECRETS_FILE_VARIABLE: str(self._state.secrets_file.resolve())},
            log=self._state.logs / f"{plan.name}.log",
            clock=self._clock,
            on_change=self._changed,
        )

    async def _create_sessions(self, redis_url: str, *, key_ids: tuple[str, ...]) -> None:
        rows = profiles_with(self.options.profiles)
        pools = pool_shapes(self.options, self.sessions)
        store = connect(redis_url)
        try:
            claims = Claims(store)
            for session in self.sessions:
                placement = place(session, rows, pools)
                if isinstance(placement, Unplaceable):
                    self.refused.append(Refusal(str(session.key), str(placement)))
                    continue
                await claims.create(SessionRecord(session=session, pools=placement.choices, key_ids=key_ids))
                reason = await _claim_patiently(claims, str(session.key))
                if reason:
                    self.refused.append(Refusal(str(session.key), reason))
        except RedisError as error:
            raise GenlockError(f"Redis at {redis_url} does not do as it should: {error}") from error
        finally:
            await store.aclose()


async def check_redis(url: str) -> None:
    """Raises BadInput for what is no address of a Redis, Unreachable, StoreUnusable: known before anything starts."""
    try:
        store = connect(url)
    except StoreUnusable as error:
        raise BadInput(str(error)) from None
    try:
        await check(store)
    except RedisError as error:
        raise Unreachable(
            f"no Redis answers at {masked(url)} ({type(error).__name__}); start it, or leave --redis out"
        ) from None
    finally:
        await store.aclose()


async def _claim_patiently(claims: Claims, session: str) -> str:
    """Claim a worker; "" when done, else why not. Workers that are ready may still be registering."""
    reason = ""
    for _ in range(CLAIM_ATTEMPTS):
        try:
            await claims.claim(session)
        except NoCapacity as error:
            reason = f"{error.reason}; start more with --workers"
            await asyncio.sleep(CLAIM_RETRY_S)
        else:
            return ""
    return reason
