"""Redis and the workers, as far as the plan of one session can tell: its record, its control stream, room on workers.

Claims, moves, fits and ends follow the rules of the scripts (`claim.lua`, `move.lua`, `grant.lua`, `release.lua`).
"""

from dataclasses import dataclass, field, replace

from genlock_core.claims.facts import MoveCause
from genlock_core.claims.identity import WorkerIdentity
from genlock_core.claims.record import PoolChoice, SessionRecord, from_fields, to_fields
from genlock_core.spec.session import Phase
from genlock_core.stream_state.control import ControlChange

NOW_MS = 1_767_268_800_000
SMALL, BIG = "studio/small", "studio/big"


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
class StreamSide:
    """What outlives the operator in Redis. `claims` has (epoch, worker) of everything that was ever given; `lost` is
    the record that Redis lost last."""

    workers: dict[str, Worker] = field(default_factory=lambda: workers_of(s0=SMALL, s1=SMALL, b0=BIG))
    now_ms: int = NOW_MS
    record: SessionRecord | None = None
    lost: SessionRecord | None = None
    control: list[tuple[str, int, ControlChange]] = field(default_factory=list)
    claims: list[tuple[int, str]] = field(default_factory=list)

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

    def change(self, client: str, number: int, change: ControlChange) -> None:
        """As `append.lua`: what was asked for already adds nothing."""
        if (client, number) not in [(entry[0], entry[1]) for entry in self.control]:
            self.control.append((client, number, change))

    def forget(self) -> None:
        if self.record is not None and self.record.owner is None:
            self.record, self.control = None, []
            self.now_ms += 1_000  # nobody deletes and makes anew within a millisecond

    def store(self, record: SessionRecord) -> None:
        if self.record is not None:
            changed = replace(self.record, session=record.session, pools=record.pools)
            self.record = from_fields(to_fields(changed))
            return
        if not record.pools:
            raise AssertionError("created without a placement")
        phase = Phase.RECOVERING if record.epoch else Phase.PENDING
        stored = replace(record, phase=phase, created_ms=self.now_ms, active_ms=self.now_ms)
        self.record = from_fields(to_fields(stored))

    def fit(self, epoch: int) -> bool:
        """As `grant.lua` upwards: False if there is no room where it is."""
        record = self.record
        if record is None or record.owner is None or record.epoch != epoch:
            return True
        cost = next((choice.cost for choice in record.pools if choice.pool == record.pool), None)
        if cost is None or cost - record.cost > self.free(self.workers[record.owner.name]):
            return False
        self.record = replace(record, cost=cost)
        return True

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


def _unowned(record: SessionRecord, phase: Phase, reason: str) -> SessionRecord:
    return replace(record, phase=phase, reason=reason, owner=None, address="", pool="", cost=0)
