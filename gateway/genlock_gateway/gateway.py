"""A gateway process: everything it holds, put together, and its life: start, serve, drain, stop.

Nothing here is global, so that tests run several gateways in one process.
"""

import asyncio
import logging
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import httpx
from prometheus_client import CollectorRegistry
from pydantic import ValidationError
from redis.exceptions import RedisError
from starlette.requests import HTTPConnection

from genlock_core import store as stores
from genlock_core.claims.claims import Claims
from genlock_core.claims.figure_board import FigureBoard
from genlock_core.claims.publisher import Gateways, Publishers
from genlock_core.claims.record import SessionRecord
from genlock_core.claims.snapshot_budget import SnapshotBudget
from genlock_core.clock import Clock, SystemClock
from genlock_core.errors import UnknownSession
from genlock_core.levelling.keeper import RANK_OF_GATEWAY, LevelKeeper
from genlock_core.levelling.told import ToldPools
from genlock_core.link.events import LinkIdentity
from genlock_core.link.messages import LinkRole
from genlock_core.metrics import GatewayMetrics
from genlock_core.metrics.levelling import LevellingMetrics
from genlock_core.process.address import Address
from genlock_core.sizing.profile import ProfileRow, profiles_with
from genlock_core.spec.session import SessionKey
from genlock_core.stream_state.control import ControlStream
from genlock_core.stream_state.snapshot_store import SnapshotStore
from genlock_core.tokens import Keyring, Role
from genlock_gateway.access.access import Access, PlatformKey
from genlock_gateway.access.allowances import Allowances
from genlock_gateway.access.gateway_proof import GatewayProofs
from genlock_gateway.access.problems import unavailable
from genlock_gateway.preview.watches import PreviewWatches
from genlock_gateway.rtc.media_plane import MediaPlane
from genlock_gateway.sessions.control import Controls
from genlock_gateway.sessions.hub import Hub
from genlock_gateway.sessions.maintenance import MaintenanceLoops
from genlock_gateway.sessions.publisher_slot import PublisherSlots
from genlock_gateway.sessions.record_cache import RecordCache
from genlock_gateway.sessions.session_data import SessionDataCleaner
from genlock_gateway.sessions.shared_reads import SharedReads
from genlock_gateway.sessions.surroundings import RecentSurroundings
from genlock_gateway.sessions.upstream.links import Links
from genlock_gateway.sessions.upstream.shared_parts import SharedParts
from genlock_gateway.sessions.waiting_offers import WaitingOffers
from genlock_gateway.settings import GatewaySettings, JwtSettings, SessionsFrom

logger = logging.getLogger(__name__)

FORWARDS_AT_ONCE: Final = 100
"""Changes that wait for an answer of another gateway."""
STORE_TIMEOUT_S: Final = 3.0
"""A request waits no longer than this for Redis."""
READS_AT_ONCE: Final = 8
"""Commands to Redis that strangers' requests may have under way together."""
READS_WAIT_S: Final = 2.0
"""So long does such a request wait for its turn; less than `STORE_TIMEOUT_S`, which says that Redis is away."""
REDIS_RETRY_S: Final = 0.5
DRAIN_RETRY_S: Final = 1.0
RECONNECT_SPREAD_MS: Final = 1_000
"""Clients of a draining gateway come back within this time, not all at once."""


@dataclass(slots=True, kw_only=True)
class RequestReads:
    """What requests over HTTP read from Redis before anybody is let in: over connections of their own.

    Anybody may ask, as often as they like. So none of these questions is made over the connections by which claims,
    moves and duties go.
    """

    store: stores.Store
    claims: Claims
    gateways: Gateways
    records: RecordCache
    surroundings: RecentSurroundings
    told: ToldPools

    def changed(self, session: str) -> None:
        """This gateway has just done something to the session: whoever asks next sees it."""
        self.records.drop(session)
        self.surroundings.drop(session)

    async def close(self) -> None:
        await self.records.end()
        await self.surroundings.end()
        await self.store.aclose()


@dataclass(slots=True, kw_only=True)
class Gateway:
    """The parts of one gateway, put together by `build`. It goes through `start`, serves, `drain` if asked, `stop`."""

    settings: GatewaySettings
    clock: Clock
    store: stores.Store
    reads: RequestReads
    claims: Claims
    publishers: Publishers
    slots: PublisherSlots
    offers: WaitingOffers
    gateways: Gateways
    board: FigureBoard
    profiles: tuple[ProfileRow, ...]
    access: Access
    metrics: GatewayMetrics
    media: MediaPlane
    links: Links
    previews: PreviewWatches
    hub: Hub
    controls: Controls
    session_data: SessionDataCleaner
    maintenance: MaintenanceLoops
    allowances: Allowances
    proofs: GatewayProofs
    # To the other gateways. What only looks, event streams among it, has connections of its own, as many as it needs:
    # strangers may hold them, and each is a connection here that is bounded already.
    http: httpx.AsyncClient
    http_looks: httpx.AsyncClient
    address: "OwnAddress"
    draining: bool = False
    readiness: SharedReads[Mapping[str, str]] = field(default_factory=SharedReads)

    @property
    def name(self) -> str:
        return self.settings.name

    async def start(self) -> None:
        """Bind the UDP port and begin the maintenance loops. Raises OSError, RedisError, StoreUnusable."""
        await self._redis_answers()
        await self.media.start()
        self.maintenance.start()

    async def _redis_answers(self) -> None:
        """Wait for it as long as was set. Raises RedisError, StoreUnusable."""
        until_s = self.clock.monotonic() + self.settings.redis_wait_s
        while True:
            try:
                await stores.check(self.store)
            except RedisError as error:
                if self.clock.monotonic() >= until_s:
                    raise
                logger.warning("Redis does not answer yet: %s", error)
                await asyncio.sleep(REDIS_RETRY_S)
            else:
                return

    async def drain(self) -> None:
        """Take nobody new, ask the clients to reconnect elsewhere, and wait until they have gone, but not for ever."""
        self.draining = True
        logger.info("draining: %d peers, %d event streams", self.hub.peers, self.hub.listeners)

        spread_ms = min(RECONNECT_SPREAD_MS, 10 * self.hub.peers)
        for stream in self.hub.streams:
            stream.audience.tell("reconnect", {"afterMs": self.hub.shared.jitter.randint(0, spread_ms)})
            for candidate in stream.audience.candidates:
                self.hub.start(candidate.peer.close("the gateway drains"), name=f"end of peer {candidate.id}")

        try:
            async with asyncio.timeout(self.settings.drain_timeout_s):
                await self.hub.empty.wait()
        except TimeoutError:
            logger.warning("%d peers did not go in time; they are closed", self.hub.peers)

    async def stop(self) -> None:
        """Close everything; nothing is left behind, also after a start that failed or that did not get to its end."""
        # From the clients inwards: no peer is left without its stream, no stream without its link.
        await self.maintenance.stop()
        for stream in self.hub.streams:
            stream.audience.hang_up()
        await self.media.stop()
        await self.hub.close()
        self.previews.close()
        await self.links.close("the gateway stops")

        if self.maintenance.started:
            await self._sign_off()
        await self.http.aclose()
        await self.http_looks.aclose()
        await self.readiness.end()
        await self.reads.close()
        await self.store.aclose()

    async def _sign_off(self) -> None:
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                await self.gateways.withdraw(self.name)
                await self.board.post(self.name, {})
        except (RedisError, OSError) as error:
            logger.warning("could not sign off: %s", type(error).__name__)

    def check_open(self) -> None:
        """Raises Problem (503) while draining."""
        if self.draining:
            raise unavailable(
                "this gateway is draining; try another one", retry_after_s=DRAIN_RETRY_S, reason="draining"
            )

    async def session(self, namespace: str, name: str, *, fresh: bool = False) -> SessionRecord:
        """The session's record; while Redis is away, or too much is asked of it, that of a live session is enough.

        `fresh`: as it is now, to let somebody in or to change something. Else as it was a moment ago, to be shown.
        Raises UnknownSession, RedisError, StoreBusy, TimeoutError.
        """
        try:
            key = str(SessionKey(namespace=namespace, name=name))
        except ValidationError:
            raise UnknownSession(f"{namespace}/{name}"[:128]) from None

        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                record = await (self.reads.records.fresh(key) if fresh else self.reads.records.recent(key))
        except (RedisError, OSError, stores.StoreBusy):
            stream = self.hub.find(key)
            if stream is None or not stream.wanted:
                raise
            return stream.record

        if record is None:
            raise UnknownSession(key)
        return record

    async def session_for(
        self, request: HTTPConnection, namespace: str, name: str, role: Role, *, fresh: bool = True
    ) -> SessionRecord:
        """The record of a session on which the request may act as `role`.

        Raises as `session` and `Access.require` do. A wrong token is refused also where there is no such session.
        """
        try:
            record = await self.session(namespace, name, fresh=fresh)
        except UnknownSession:
            self.access.refuse_wrong(request, f"{namespace}/{name}", role, needed=True)
            raise
        self.access.require(request, record.session, role)
        return record

    async def ready(self) -> str:
        """Why this gateway should get no new clients; empty if it should."""
        if self.draining:
            return "draining"
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                # Not with `reads`: a gateway that strangers keep busy is ready. Shared, as anybody may ask for this.
                await self.readiness.get("gateways", self.gateways.all)
        except (RedisError, OSError):
            return "Redis does not answer"
        return ""


@dataclass(slots=True)
class OwnAddress:
    """The base URL under which other gateways reach this one; known for sure once HTTP is bound."""

    settings: GatewaySettings
    port: int = 0

    def __call__(self) -> str:
        if self.settings.advertise_http is not None:
            return self.settings.advertise_http
        listening = self.settings.http
        host = next(iter(self.settings.advertise_ips), "127.0.0.1") if listening.everywhere else listening.host
        return f"http://{Address(host, self.port or listening.port)}"


def _platform_key(jwt: JwtSettings) -> PlatformKey | None:
    """The key of the tokens that the platform signs itself, if it does. Raises ValueError for what is no such key."""
    if jwt.public_key is None:
        return None
    return PlatformKey.load(jwt.public_key, issuer=jwt.issuer, audience=jwt.audience)


def _reads(redis_url: str, clock: Clock, metrics: GatewayMetrics) -> RequestReads:
    store = stores.connect(redis_url, at_once=READS_AT_ONCE, wait_s=READS_WAIT_S)
    claims = Claims(store)
    return RequestReads(
        store=store,
        claims=claims,
        gateways=Gateways(store),
        records=RecordCache(claims, clock, metrics),
        surroundings=RecentSurroundings(claims, Publishers(store), clock),
        told=ToldPools(store),
    )


def build(settings: GatewaySettings, keyring: Keyring, *, clock: Clock | None = None) -> Gateway:
    """Put a gateway together; no I/O but reading the profiles. Raises ValueError for a wrong JWT key, StoreUnusable."""
    time = clock or SystemClock()
    store = stores.connect(settings.redis_url)
    metrics = GatewayMetrics(CollectorRegistry())
    claims = Claims(store)
    gateways = Gateways(store)
    board = FigureBoard(store)
    control = ControlStream(store)

    links = Links(
        identity=LinkIdentity(LinkRole.GATEWAY, settings.name, str(uuid.uuid4())),
        secrets=keyring.link_secrets(),
        clock=time,
        metrics=metrics,
    )
    shared = SharedParts(
        gateway=settings.name,
        claims=claims,
        links=links,
        clock=time,
        metrics=metrics,
        jitter=random.Random(),  # noqa: S311 - spreads retries
        may_start_again=settings.sessions is not SessionsFrom.CLUSTER,
    )
    hub = Hub(shared, settings.limits)
    publishers = Publishers(store)
    reads = _reads(settings.redis_url, time, metrics)
    slots = PublisherSlots(
        publishers,
        hub,
        for_contenders=Publishers(reads.store),
        gateway=settings.name,
        clock=time,
        store_timeout_s=STORE_TIMEOUT_S,
    )
    offers = WaitingOffers(reads.claims, metrics, store_timeout_s=STORE_TIMEOUT_S)
    session_data = SessionDataCleaner(
        claims, snapshots=SnapshotStore(store), budget=SnapshotBudget(store), control=control
    )
    address = OwnAddress(settings)
    access = Access(keyring, _platform_key(settings.jwt), time)

    return Gateway(
        settings=settings,
        clock=time,
        store=store,
        reads=reads,
        claims=claims,
        publishers=publishers,
        slots=slots,
        offers=offers,
        gateways=gateways,
        board=board,
        profiles=profiles_with(settings.profiles),
        access=access,
        metrics=metrics,
        media=MediaPlane(
            hosts=[address.host for address in settings.udp],
            port=settings.udp[0].port,
            advertised=settings.advertise_ips,
            clock=time,
        ),
        links=links,
        previews=PreviewWatches(gateway=settings.name, links=links, clock=time, metrics=metrics),
        hub=hub,
        controls=Controls(claims, control, hub),
        session_data=session_data,
        maintenance=MaintenanceLoops(
            name=settings.name,
            claims=claims,
            publishers=publishers,
            slots=slots,
            gateways=gateways,
            board=board,
            session_data=session_data,
            hub=hub,
            offers=offers,
            records=reads.records,
            address=address,
            levels=LevelKeeper(
                claims,
                ToldPools(store),
                holder=f"gateway {settings.name}",
                rank=RANK_OF_GATEWAY,
                clock=time,
                metrics=LevellingMetrics(metrics.registry),
            ),
        ),
        allowances=Allowances(access, time, settings.limits),
        proofs=GatewayProofs(keyring.keys, time),
        http=_to_gateways(httpx.Limits(max_connections=FORWARDS_AT_ONCE)),
        http_looks=_to_gateways(httpx.Limits(max_connections=None)),
        address=address,
    )


def _to_gateways(limits: httpx.Limits) -> httpx.AsyncClient:
    timeout = httpx.Timeout(5.0, read=30.0)
    return httpx.AsyncClient(timeout=timeout, limits=limits, follow_redirects=False, trust_env=False)
