"""A small world for the plan of a session: resource, record, control stream and workers; actions happen in it.

A pass is what the operator does for one key: look,
plan, act, and look again after each action that changes what is seen. A pass can be cut off after any action (`Crash`),
and a rival can act before any action.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from genlock_core.claims.facts import WorkerState, WorkerView
from genlock_core.claims.figure_board import PostedFigures
from genlock_core.claims.identity import FormatRange
from genlock_core.claims.record import SessionRecord
from genlock_core.sizing.candidates import PoolShape
from genlock_core.sizing.placement import place
from genlock_core.sizing.profile import ProfileRow
from genlock_core.spec.pool import wire
from genlock_core.spec.session import Phase, Resolution, ResolvedSession, SessionKey, StreamSessionSpec, resolve
from genlock_core.spec.status import Condition, ConditionType, SessionStatus
from genlock_operator import actions as act
from genlock_operator.actions import CHANGES_WHAT_IS_SEEN, SessionAction
from genlock_operator.observed import Meta, PoolOutlook, SessionResource, SessionSeen
from genlock_operator.plan.conditions import find
from genlock_operator.plan.session.plan import plan_session
from tests.operator.plan.session_claims import BIG, SMALL, StreamSide, Worker

KEY = SessionKey(namespace="studio", name="demo")
NAME = str(KEY)
MAX_ROUNDS = 12
FIGURES = PostedFigures(
    viewers=3,
    publisher=True,
    steps=1,
    output_fps=16.0,
    miss_share=0.001,
    miss_share_short=0.001,
    miss_share_long=0.001,
    first_frame_ms=312.04,
)


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
    PoolShape(name=SMALL, model="wan2.1-1.3b", gpu_product="NVIDIA-H100", gpus=1, engine="mock"),
    PoolShape(name=BIG, model="wan2.1-1.3b", gpu_product="NVIDIA-H100", gpus=4, engine="mock"),
)


class Crash(Exception):
    """The operator's process ends here."""


@dataclass(slots=True)
class World(StreamSide):
    """One session's world. `told` are the Events, by type and reason."""

    shapes: tuple[PoolShape, ...] = SHAPES
    rows: tuple[ProfileRow, ...] = ROWS
    ceilings: bool = False
    """Whether its workers hold sessions to a level, as they do since the release before."""
    outlooks: dict[str, PoolOutlook] = field(default_factory=dict)
    meta: Meta | None = None
    spec: StreamSessionSpec = field(default_factory=StreamSessionSpec)
    mistakes: tuple[str, ...] = ()
    status: SessionStatus = field(default_factory=SessionStatus)
    figures: PostedFigures | None = None
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

    # -- the operator --------------------------------------------------------------------------------------------------

    def seen(self) -> SessionSeen:
        resource = session = placement = None
        if self.meta is not None:
            status_json = b"" if self.status == SessionStatus() else self.status.model_dump_json(by_alias=True).encode()
            resource = SessionResource(self.meta, self.spec.model_dump_json(by_alias=True).encode(), status_json)
            session = self.wanted() if not self.mistakes else None
            placement = place(session, self.rows, self.shapes) if session is not None else None
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
        return plan_session(self.seen(), self.now_ms).actions

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
                self.store(record)
            case act.ClaimWorker():
                self.refusal = "" if self._lost_to_the_rival() or self.claim() else "no worker has room"
            case act.MoveSession(_, epoch, cause):
                self.refusal = "" if self._lost_to_the_rival() or self.move(epoch, cause) else "no worker has room"
            case act.FitClaim(_, epoch):
                self.refusal = "" if self.fit(epoch) else "its worker has no room"
            case act.ChangeStream(name, change, client, number):
                assert name == NAME
                self.change(client, number, change)
            case act.EndSession(_, reason):
                self.end(Phase.ENDED, reason)
            case act.ForgetRecord():
                self.forget()
            case act.WriteSessionStatus(meta, status):
                if self.meta == meta:
                    self.status = status
            case act.DeleteSession(meta):
                if self.meta is not None and self.meta.uid == meta.uid:
                    self.delete()
            case act.Tell():
                assert (action.kind, action.meta) == ("StreamSession", self.meta), "an Event is about the session"
                assert action.type in {"Normal", "Warning"}, "the API server takes no other"
                self.told.append((action.type, action.reason))
            case act.LookAgain(at_ms):
                self.look_again_ms = at_ms

    def _lost_to_the_rival(self) -> bool:
        """Did it end between plan and action? Without a rival, nobody asks a worker for a session that is over."""
        return self.rival is not None and (self.record is None or self.record.finished)

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
            ceilings=self.ceilings,
            halves=self.ceilings,
        )


def only_looks_again(planned: list[SessionAction]) -> bool:
    return all(isinstance(action, act.LookAgain) for action in planned)


def living(**spec: Any) -> World:
    """A session that a worker has."""
    world = World()
    world.apply(**({"steps": 1} | spec))
    world.settle()
    return world


def kinds(actions: list[SessionAction]) -> list[str]:
    return [type(action).__name__ for action in actions]


def stored(actions: list[SessionAction]) -> SessionRecord:
    """The record that they store."""
    return next(action.record for action in actions if isinstance(action, act.StoreRecord))


def waiting(**outlooks: PoolOutlook) -> World:
    world = World(workers={}, outlooks={f"studio/{name}": outlook for name, outlook in outlooks.items()})
    world.apply(steps=1)
    world.settle()
    return world


def live(figures: PostedFigures | None = FIGURES) -> World:
    world = living()
    world.go_live()
    world.figures = figures
    world.settle()
    return world


def condition(world: World, of: ConditionType) -> Condition:
    found = find(world.status.conditions, of)
    assert found is not None
    return found


def written(world: World) -> SessionStatus | None:
    return next((action.status for action in world.plan() if isinstance(action, act.WriteSessionStatus)), None)
