"""One StreamSession: observe, plan, act, and observe again after what changes the picture.

What is observed comes from the caches, the worker table and the session's record in Redis. While Redis is away the
session is tried again; once Redis has been away for long, its status says so.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError
from redis.exceptions import RedisError

from genlock_core.claims.claims import Claims
from genlock_core.claims.facts import WorkerView
from genlock_core.claims.record import SessionRecord
from genlock_core.clock import Clock
from genlock_core.sizing.placement import Placement
from genlock_core.spec.session import ResolvedSession, SessionKey, StreamSessionSpec, resolve
from genlock_operator.actions import CHANGES_WHAT_IS_SEEN, LookAgain, SessionAction
from genlock_operator.autoscale.correction import Correction
from genlock_operator.observed import Demand, SessionResource, SessionSeen
from genlock_operator.plan.session.plan import plan_session, plan_without_store
from genlock_operator.plan.session.report import RETRY_MS
from genlock_operator.reconcile.costs import CostTable
from genlock_operator.reconcile.executor import Executor
from genlock_operator.reconcile.pending import PendingSessions
from genlock_operator.reconcile.placing import Placer
from genlock_operator.reconcile.queue import WorkQueue, pool_key, session_key
from genlock_operator.reconcile.records import RecordReader
from genlock_operator.reconcile.store_state import StoreState
from genlock_operator.reconcile.tables import FigureTable, WorkerTable
from genlock_operator.watch.caches import Caches

logger = logging.getLogger(__name__)

MAX_ROUNDS = 8
"""Observing and planning again so often at once; what is not settled by then comes later."""


@dataclass(slots=True)
class SessionReconciler:
    """Works on one session at a time per call; calls for different sessions run side by side."""

    caches: Caches
    claims: Claims
    workers: WorkerTable
    figures: FigureTable
    pending: PendingSessions
    queue: WorkQueue
    executor: Executor
    clock: Clock
    public_url: str
    store_state: StoreState
    costs: CostTable
    speeds: Mapping[str, Correction]
    """By pool: how fast its workers are, where that is not as profiled."""
    _records: RecordReader = field(init=False)
    _placer: Placer = field(init=False)
    _specs: dict[str, "_ReadSpec"] = field(default_factory=dict)
    """Of the sessions that are worked on."""

    def __post_init__(self) -> None:
        self._records = RecordReader(self.claims)
        self._placer = Placer(self.caches, self.speeds)

    async def reconcile(self, name: str) -> None:
        """Bring the session to where it should be, as far as that goes now. Raises KubeError, NotLeading."""
        try:
            await self._settle(name)
        except RedisError as error:
            logger.warning("%s: Redis does not answer: %s", name, error, extra={"session": name})
            self.store_state.failed()
            if self.store_state.away_for_long:
                await self._while_away(name)
            self.queue.add_in(session_key(name), RETRY_MS / 1_000)
        finally:
            self._specs.pop(name, None)

    async def _settle(self, name: str) -> None:
        """Observe, plan and act until a plan changes nothing that the next one would see."""
        refusal = ""
        for _round in range(MAX_ROUNDS):
            seen = await self._observe(name, refusal)

            # Where Redis has just lost its data, a claim now could take the stream away from the worker that serves it.
            if await self._may_be_served(seen.record):
                break

            plan = plan_session(seen, self.clock.wall_ms())
            again, refusal = await self._act(name, plan.actions)
            if not again:
                self._note(name, plan.demand)
                return
        self.queue.add_in(session_key(name), RETRY_MS / 1_000)

    async def _act(self, name: str, plan: list[SessionAction]) -> tuple[bool, str]:
        """Carry the plan out, up to where it stops being true; whether it did, and why there was no room."""
        for action in plan:
            if isinstance(action, LookAgain):
                self.queue.add_in(session_key(name), (action.at_ms - self.clock.wall_ms()) / 1_000)
                continue

            # The next plan has to know what was refused: it says why the session waits.
            refusal = await self.executor.perform(action)
            if isinstance(action, CHANGES_WHAT_IS_SEEN):
                return True, refusal
        return False, ""

    async def _observe(self, name: str, refusal: str) -> SessionSeen:
        record = await self._records.record(name)
        self.costs.note(name, record)
        worker = None
        if record is not None and record.owner is not None:
            # The table is up to a second old: a worker that has just registered is asked for by name.
            worker = self.workers.views.get(record.owner.name)
            if worker is None or worker.identity != record.owner:
                worker = await self.claims.worker(record.owner.name)
        return self._seen(name, record, refusal, worker)

    async def _may_be_served(self, record: SessionRecord | None) -> bool:
        """Whether its worker may only have had no time yet to tell a Redis that lost its data that it serves it."""
        if record is None or record.finished or record.owner is not None or not record.epoch:
            return False
        self.store_state.noted(await self.claims.run_id())
        return not self.store_state.knows_workers

    async def _while_away(self, name: str) -> None:
        """Say that Redis is away, and touch nothing else."""
        for action in plan_without_store(self._seen(name), self.clock.wall_ms()):
            if not isinstance(action, LookAgain):
                await self.executor.perform(action)

    def _seen(
        self, name: str, record: SessionRecord | None = None, refusal: str = "", worker: WorkerView | None = None
    ) -> SessionSeen:
        resource = self.caches.sessions.get(name)
        session, mistakes = self._read(resource) if resource is not None else (None, ())
        placement = self._placer.placement_of(session) if session is not None else None
        choices = placement.choices if isinstance(placement, Placement) else ()
        return SessionSeen(
            name=name,
            resource=resource,
            session=session,
            record=record,
            placement=placement,
            mistakes=mistakes,
            refusal=refusal,
            outlooks=self.pending.outlooks_of(choice.pool for choice in choices),
            worker=worker,
            figures=self.figures.figures.get(name),
            public_url=self.public_url,
        )

    def _read(self, resource: SessionResource) -> tuple[ResolvedSession | None, tuple[str, ...]]:
        """The spec, which costs more to read than all else of a look, once for all looks of a pass."""
        known = self._specs.get(resource.meta.key)
        if known is None or known.json != resource.spec_json:
            known = self._specs[resource.meta.key] = _ReadSpec(resource.spec_json, *read(resource))
        return known.session, known.mistakes

    def _note(self, name: str, demand: Demand | None) -> None:
        """Let the pools know which sessions wait for them."""
        for pool in self.pending.note(name, demand):
            self.queue.add(pool_key(pool))


@dataclass(frozen=True, slots=True)
class _ReadSpec:
    json: bytes
    session: ResolvedSession | None
    mistakes: tuple[str, ...]


def read(resource: SessionResource) -> tuple[ResolvedSession | None, tuple[str, ...]]:
    """The spec with its defaults, or every mistake in it."""
    try:
        spec = StreamSessionSpec.model_validate_json(resource.spec_json)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        return None, tuple(f"{'.'.join(['spec', *map(str, one['loc'])])}: {one['msg']}" for one in found)
    return resolve(SessionKey(namespace=resource.meta.namespace, name=resource.meta.name), spec), ()
