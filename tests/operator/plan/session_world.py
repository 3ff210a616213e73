"""A small world for the plan of a session: resource, record, control stream and workers; actions happen in it.

Claims, moves and fits follow the rules of the scripts in Redis. A pass is what the operator does for one key: look,
plan, act, and look again after each action that changes what is seen. A pass can be cut off after any action (`Crash`),
and a rival can act before any action.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from genlock_core.claims.facts import MoveCause, WorkerState, WorkerView
from genlock_core.claims.figure_board import SessionFigures
from genlock_core.claims.identity import FormatRange, WorkerIdentity
from genlock_core.claims.record import FINISHED, PoolChoice, SessionRecord, from_fields, to_fields
from genlock_core.sizing.placement import PoolShape, place
from genlock_core.sizing.profile import ProfileRow
from genlock_core.spec.pool import wire
from genlock_core.spec.session import Phase, Resolution, ResolvedSession, SessionKey, StreamSessionSpec, resolve
from genlock_core.spec.status import SessionStatus
from genlock_core.stream_state.control import ControlChange
from genlock_operator import actions as act
from genlock_operator.actions import CHANGES_WHAT_IS_SEEN, SessionAction
from genlock_operator.observed import Meta, PoolOutlook, SessionResource, SessionSeen
from genlock_operator.plan.policy import SessionPolicy
from genlock_operator.plan.session import plan_session

NOW_MS = 1_767_268_800_000
KEY = SessionKey(namespace="studio", name="demo")
NAME = str(KEY)
SMALL, BIG = "studio/small", "studio/big"
POLICY = SessionPolicy()
MAX_ROUNDS = 12


def row(*, steps: int, gpus: int, fps: float) -> ProfileRow:
    return ProfileRow(
        model="wan2.1-1.3b",
        resolution=Resolution(width=832, height=480),
        steps=steps,
        gpu_product="NVIDIA-H100",
        gpus=gpus,
        fps_per_session=fps,
        source="made up",
    )


ROWS = (row(steps=1, gpus=1, fps=32.0), row(steps=2, gpus=1, fps=16.0), row(steps=4, gpus=4, fps=32.0))
"""A small worker carries two sessions of one step or one of two; a big one two of up to four."""
SHAPES = (
    PoolShape(name=SMALL, model="wan2.1-1.3b", gpu_product="NVIDIA-H100", gpus=1),
    PoolShape(name=BIG, model="wan2.1-1.3b", gpu_product="NVIDIA-H100", gpus=4),
)


class Crash(Exception):
    """The operator's process ends here."""


@dataclass(slots=True)
class Worker:
    """`others`: thousandths that other sessions take."""

    identity: WorkerIdentity
    pool: str
    gpus: int
    others: int = 0


def workers_of(**pools: str) -> dict[str, Worker]:
    """`workers_of(s0=SMALL, b0=BIG)`."""
    return {
        name: Worker(WorkerIdentity(name, f"{name}-run"), pool, 1 if pool == SMALL else 4)
        for name, pool in pools.items()
    }


@dataclass(slots=True)
class World:
    """One session's world. `claims` has (epoch, worker) of everything that was ever given; `lost` is the record that
    Redis lost last; `told` are the Events."""

    workers: dict[str, Worker] = field(default_factory=lambda: workers_of(s0=SMALL, s1=SMALL, b0=BIG))
    shapes: tuple[PoolShape, ...] = SHAPES
    outlooks: dict[str, PoolOutlook] = field(default_factory=dict)
    now_ms: int = NOW_MS
    meta: Meta | None = None
    spec: StreamSessionSpec = field(default_factory=StreamSessionSpec)
    mistakes: tuple[str, ...] = ()
    status: SessionStatus = field(default_factory=SessionStatus)
    record: SessionRecord | None = None
    lost: SessionRecord | None = None
    control: list[tuple[str, int, ControlChange]] = field(default_factory=list)
    figures: SessionFigures | None = None
    claims: list[tuple[int, str]] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    look_again_ms: int | None = None
    acted: int = 0
    objects: int = 0
    crash_after: int | None = None
    rival: Callable[["World"], None] | None = None
    refusal: str = ""

    # -- what users do -------------------------------------------------------------------------------------------------

    def apply(self, **spec: Any) -> None:
        """Create the resource, or change the fields of its spec."""
        if self.meta is None:
            self.objects += 1
            self.spec, self.status = StreamSessionSpec(**spec), SessionStatus()
            self.meta = Meta(KEY.namespace, KEY.name, f"uid-{self.objects}", 1, "1", self.now_ms, deleting=False)
        else:
            self.spec = StreamSessionSpec.model_validate(self.spec.model_dump() | spec)
            self.meta = replace(self.meta, generation=self.meta.generation + 1)

    def delete(self) -> None:
        self.meta, self.spec, self.status = None, StreamSessionSpec(), SessionStatus()

    # -- what gateways, workers and Redis do ---------------------------------------------------------------------------

    def free(self, worker: Worker) -> int:
        owner = self.record.owner if self.record is not None else None
        own = self.record.cost if self.record is not None and owner == worker.identity else 0
        return 1_000 - worker.others - own

    def claim(self) -> bool:
        """As `claim.lua`: False if there is no room."""
        record = self.record
        if record is None or record.finished:
            raise AssertionError("claimed for a session that is over, or was never stored")
        if record.owner is not None:
            return True
        found = self._room(record, excluded=None)
        if found is None:
            return False
        self._give(record, *found, phase=Phase.ASSIGNED if record.phase is Phase.PENDING else record.phase)
        return True

    def move(self, expected_epoch: int, cause: MoveCause) -> bool:
        """As `move.lua`: False if there is no room."""
        record = self.record
        if record is None or record.finished:
            raise AssertionError("moved a session that is over, or was never stored")
        if record.epoch != expected_epoch:
            return True
        found = self._room(record, excluded=record.owner)
        if found is None:
            return False
        polite = cause in (MoveCause.DRAIN, MoveCause.REQUESTED)
        self._give(record, *found, phase=Phase.DRAINING if polite else Phase.RECOVERING, reason=cause.value)
        return True

    def expire(self) -> None:
        """The worker's lease runs out."""
        if self.record is not None and self.record.owner is not None:
            self.record = _unowned(self.record, Phase.RECOVERING, "LeaseExpired")

    def go_live(self) -> None:
        if self.record is not None and self.record.owner is not None:
            self.record = replace(self.record, phase=Phase.LIVE, reason="")

    def end(self, phase: Phase = Phase.ENDED, reason: str = "Idle") -> None:
        if self.record is not None and not self.record.finished:
            self.record = replace(_unowned(self.record, phase, reason), finished_ms=self.now_ms)

    def lose_record(self) -> None:
        self.lost, self.record = self.record or self.lost, None

    # -- the operator --------------------------------------------------------------------------------------------------

    def seen(self) -> SessionSeen:
        resource = session = placement = None
        if self.meta is not None:
            status_json = b"" if self.status == SessionStatus() else self.status.model_dump_json(by_alias=True).encode()
            resource = SessionResource(self.meta, self.spec.model_dump_json(by_alias=True).encode(), status_json)
            session = self.wanted() if not self.mistakes else None
            placement = place(session, ROWS, self.shapes) if session is not None else None
        owner = self.record.owner if self.record is not None else None
        return SessionSeen(
            name=NAME,
            resource=resource,
            session=session,
            record=self.record,
            placement=placement,
            mistakes=self.mistakes,
            refusal=self.refusal,
            outlooks=self.outlooks,
            worker=self._view(self.workers[owner.name]) if owner is not None else None,
            figures=self.figures,
            public_url="https://live.example.com",
        )

    def wanted(self) -> ResolvedSession:
        return resolve(KEY, self.spec)

    def plan(self) -> list[SessionAction]:
        return plan_session(self.seen(), self.now_ms, POLICY)

    def reconcile(self) -> None:
        """One pass. Raises Crash where it is cut off."""
        self.refusal, self.look_again_ms = "", None
        for _ in range(MAX_ROUNDS):
            if not self._round():
                return
        raise AssertionError(f"the plan does not come to rest: {self.plan()}")

    def settle(self) -> None:
        """Passes until one changes nothing; a crash is followed by the next leader."""
        for _ in range(MAX_ROUNDS):
            before = self.state()
            try:
                self.reconcile()
            except Crash:
                continue
            if self.state() == before:
                return
        raise AssertionError("the world does not come to rest")

    def state(self) -> tuple[Any, ...]:
        """Everything that outlives the operator, but for Events."""
        return self.meta, wire(self.status), self.record, tuple(self.control), tuple(self.claims)

    def _round(self) -> bool:
        """Plan and act; True if it has to look again."""
        for action in self.plan():
            if self.crash_after is not None and self.acted >= self.crash_after:
                self.crash_after = None
                raise Crash
            if self.rival is not None:
                self.rival(self)
            self._do(action)
            self.acted += 1
            if isinstance(action, CHANGES_WHAT_IS_SEEN):
                return True
        return False

    def _do(self, action: SessionAction) -> None:
        match action:
            case act.StoreRecord(record):
                self._store(record)
            case act.ClaimWorker():
                if self.record is not None and not self.record.finished:
                    self.refusal = "" if self.claim() else "no worker has room"
            case act.MoveSession(_, epoch, cause):
                if self.record is not None and not self.record.finished:
                    self.refusal = "" if self.move(epoch, cause) else "no worker has room"
            case act.FitClaim(_, epoch):
                self._fit(epoch)
            case act.ChangeStream(_, change, client, number):
                if (client, number) not in [(entry[0], entry[1]) for entry in self.control]:
                    self.control.append((client, number, change))
            case act.EndSession(_, reason):
                self.end(Phase.ENDED, reason)
            case act.ForgetRecord():
                if self.record is not None and self.record.owner is None:
                    self.record, self.control = None, []
                    self.now_ms += 1_000  # nobody deletes and makes anew within a millisecond
            case act.WriteSessionStatus(meta, status):
                if self.meta == meta:
                    self.status = status
            case act.DeleteSession(meta):
                if self.meta is not None and self.meta.uid == meta.uid:
                    self.delete()
            case act.Tell():
                self.told.append((action.type, action.reason))
            case act.LookAgain(at_ms):
                self.look_again_ms = at_ms

    def _store(self, record: SessionRecord) -> None:
        if self.record is not None:
            changed = replace(self.record, session=record.session, pools=record.pools)
            self.record = from_fields(to_fields(changed))
            return
        if not record.pools:
            raise AssertionError("created without a placement")
        phase = Phase.RECOVERING if record.epoch else Phase.PENDING
        stored = replace(record, phase=phase, created_ms=self.now_ms, active_ms=self.now_ms)
        self.record = from_fields(to_fields(stored))

    def _fit(self, epoch: int) -> None:
        record = self.record
        if record is None or record.owner is None or record.epoch != epoch:
            return
        cost = next((choice.cost for choice in record.pools if choice.pool == record.pool), None)
        if cost is not None and cost - record.cost <= self.free(self.workers[record.owner.name]):
            self.record = replace(record, cost=cost)

    def _room(self, record: SessionRecord, excluded: WorkerIdentity | None) -> tuple[Worker, PoolChoice] | None:
        for choice in record.pools:
            fitting = [
                worker
                for worker in self.workers.values()
                if worker.pool == choice.pool and worker.identity != excluded and self.free(worker) >= choice.cost
            ]
            if fitting:
                return min(fitting, key=lambda worker: (self.free(worker), worker.identity.name)), choice
        return None

    def _give(
        self, record: SessionRecord, worker: Worker, choice: PoolChoice, *, phase: Phase, reason: str = ""
    ) -> None:
        epoch = max(record.epoch + 1, self.now_ms)
        self.claims.append((epoch, worker.identity.name))
        self.record = replace(
            record,
            phase=phase,
            reason=reason,
            epoch=epoch,
            owner=worker.identity,
            address=f"{worker.identity.name}:7000",
            pool=choice.pool,
            cost=choice.cost,
        )

    def _view(self, worker: Worker) -> WorkerView:
        return WorkerView(
            identity=worker.identity,
            pool=worker.pool,
            model="wan2.1-1.3b",
            address=f"{worker.identity.name}:7000",
            state=WorkerState.READY,
            heartbeat_age_ms=0,
            progress=1,
            links={},
            capacity=1_000,
            free=self.free(worker),
            sessions={},
            formats=FormatRange(1, 1),
            gpu_product="NVIDIA-H100",
            gpus=worker.gpus,
        )


def _unowned(record: SessionRecord, phase: Phase, reason: str) -> SessionRecord:
    return replace(record, phase=phase, reason=reason, owner=None, address="", pool="", cost=0)


def only_looks_again(planned: list[SessionAction]) -> bool:
    return all(isinstance(action, act.LookAgain) for action in planned)


def is_final(status: SessionStatus) -> bool:
    return status.phase in FINISHED
