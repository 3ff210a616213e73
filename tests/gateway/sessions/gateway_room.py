"""The sessions of one gateway round a real Redis, without workers or WebRTC: clients write down what is said."""

import json
import random
from dataclasses import dataclass, field
from typing import Any, cast

from prometheus_client import CollectorRegistry

from genlock_core import store as stores
from genlock_core.claims.claims import Claims
from genlock_core.claims.facts import Claim
from genlock_core.claims.identity import FormatRange, WorkerIdentity, WorkerOffer
from genlock_core.claims.record import PoolChoice, SessionRecord
from genlock_core.claims.silence import Rhythm, Silence
from genlock_core.claims.snapshot_budget import SnapshotBudget
from genlock_core.clock import ManualClock
from genlock_core.link.messages import Open
from genlock_core.media import Codec
from genlock_core.metrics import GatewayMetrics
from genlock_core.spec.session import SessionKey, StreamSessionSpec, resolve
from genlock_core.stream_state.control import ControlStream
from genlock_core.stream_state.snapshot_store import SnapshotStore
from genlock_gateway.sessions.audience import Kind, PeerResource
from genlock_gateway.sessions.hub import Hub
from genlock_gateway.sessions.record_cache import RecordCache
from genlock_gateway.sessions.stream import LiveStream
from genlock_gateway.sessions.upstream.shared_parts import SharedParts
from genlock_gateway.settings import Limits

SESSION = "default/demo"
MODEL = "wan2.1-1.3b"


@dataclass(eq=False)
class FakePeer:
    """A client's peer connection."""

    codec: Codec = Codec.VP8
    figures: Any = None
    said: list[dict[str, Any]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def send(self, text: str) -> bool:
        self.said.append(json.loads(text))
        return True

    async def close(self, reason: str) -> None:
        self.closed.append(reason)

    def request_key_frame(self) -> None: ...


@dataclass
class NoLinks:
    """Every OPEN waits for its answer for ever; it is kept by its epoch."""

    opens: dict[int, Open] = field(default_factory=dict)

    async def open(self, claim: Claim, request: Open, listener: object, *, frames: object) -> Any:
        self.opens[claim.epoch] = request
        return _Silent(claim)

    def rhythm(self, worker: WorkerIdentity) -> Rhythm:
        return Rhythm()


@dataclass(eq=False)
class _Silent:
    """A channel whose worker has not answered."""

    claim: Claim
    silence: Silence = field(default_factory=lambda: Silence(0.0))

    @property
    def epoch(self) -> int:
        return self.claim.epoch

    def close(self, reason: str) -> None: ...


class GatewayRoom:
    """A hub with a Redis, a clock that stands still, and nobody in it."""

    def __init__(self, redis_url: str, *, peers: int = 2, viewers_per_session: int = 1, event_streams: int = 1) -> None:
        self.store = stores.connect(redis_url)
        self.claims = Claims(self.store)
        self.control = ControlStream(self.store)
        self.snapshots = SnapshotStore(self.store)
        self.budget = SnapshotBudget(self.store)
        self.clock = ManualClock()
        self.registry = CollectorRegistry()
        self.links = NoLinks()
        metrics = GatewayMetrics(self.registry)
        self.records = RecordCache(self.claims, self.clock, metrics)
        shared = SharedParts(
            gateway="g0",
            claims=self.claims,
            links=cast("Any", self.links),
            clock=self.clock,
            metrics=metrics,
            jitter=random.Random(1),
            may_start_again=True,
        )
        limits = Limits(peers=peers, viewers_per_session=viewers_per_session, event_streams=event_streams)
        self.hub = Hub(shared, limits)

    async def record(self, name: str = "demo", **spec: Any) -> SessionRecord:
        """Create a session and read its record."""
        session = resolve(SessionKey(name=name), StreamSessionSpec.model_validate(spec))
        await self.claims.create(SessionRecord(session=session, pools=(PoolChoice("local", 300),)))
        record = await self.claims.record(str(session.key))
        assert record is not None
        return record

    async def stream(self, **spec: Any) -> LiveStream:
        return self.hub.stream(await self.record(**spec))

    async def worker(self, name: str = "w0", incarnation: str = "1") -> WorkerIdentity:
        """Register a worker that nobody runs."""
        me = WorkerIdentity(name, incarnation)
        await self.claims.register(WorkerOffer(me, "local", MODEL, 1_000, f"10.0.0.1:{name[1:]}", FormatRange(1, 1)))
        return me

    def client(self, name: str, kind: Kind = "whep", *, may_control: bool = True) -> tuple[PeerResource, FakePeer]:
        peer = FakePeer()
        resource = PeerResource(
            id=name,
            kind=kind,
            peer=cast("Any", peer),
            etag="",
            may_control=may_control,
            messages=self.hub.message_bucket(),
            key=f"key of {name}",
            run=1,
        )
        return resource, peer

    def figure(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    async def close(self) -> None:
        await self.hub.close()
        await self.store.aclose()
