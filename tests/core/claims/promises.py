"""What is always true of the claims in Redis: by its own books, and compared with the model."""

from genlock_core.claims.claims import Claim
from genlock_core.claims.record import FINISHED
from tests.core.claims import probes
from tests.core.claims.model import Model
from tests.core.claims.model_data import ModelSession


def no_capacity_is_owned_twice(found: probes.Look) -> None:
    """By Redis' own books, without the model."""
    owned = {name: session for name, session in found.sessions.items() if "owner" in session}
    for name, worker in found.workers.items():
        mine = {s: f for s, f in owned.items() if (f["owner"], f["incarnation"]) == (name, worker["incarnation"])}
        assert worker["owned"] == {s: f"{f['epoch']}:{f['cost']}" for s, f in mine.items()}
        assert int(worker["free"]) + sum(int(f["cost"]) for f in mine.values()) == int(worker["capacity"])
        assert int(worker["free"]) >= 0
    assert all(session["owner"] in found.workers for session in owned.values())
    assert sum(len(worker["owned"]) for worker in found.workers.values()) == len(owned)
    assert not any(session["phase"] in FINISHED for session in owned.values())


def redis_holds_what_the_model_says(found: probes.Look, model: Model) -> None:
    sessions, workers = model.data.sessions, model.data.workers
    assert {
        name: (
            (f["phase"], f["reason"], int(f["epoch"]), int(f["snapshot_format"]), int(f["active_ms"]), f["uid"]),
            tuple(f.get(key) for key in ("owner", "incarnation", "address", "pool", "cost")),
            tuple(f.get(key) for key in ("granted", "granted_epoch", "granted_number", "granted_ms", "surplus")),
            f.get("control:steps"),
            tuple(f.get(key) for key in ("limit", "below_ms", "model", "waits")),
            f.get("granted_half") == f.get("granted_number", ""),
        )
        for name, f in found.sessions.items()
    } == {
        name: (
            (s.phase, s.reason, s.epoch, s.format, s.active_ms, s.uid),
            _claim_fields(s.claim),
            _grant_fields(s),
            None if s.wish is None else str(s.wish),
            _level_fields(s),
            s.granted is not None and s.granted.every == 2,
        )
        for name, s in sessions.items()
    }
    assert {
        name: (
            f["incarnation"],
            int(f["free"]),
            f["state"],
            int(f["heartbeat_ms"]),
            int(f["progress"]),
            f.get("room_ms"),
        )
        for name, f in found.workers.items()
    } == {
        name: (
            w.offer.identity.incarnation,
            model.free(name),
            w.state,
            w.heartbeat_ms,
            w.progress,
            None if w.room_ms is None else str(w.room_ms),
        )
        for name, w in workers.items()
    }


def indices_agree(found: probes.Look, model: Model) -> None:
    held, workers = model.data.sessions.items(), model.data.workers.values()
    active = {name: s for name, s in held if s.phase not in FINISHED}
    assert found.indices["leases"] == {name: s.lease_ms for name, s in held if s.claim}
    assert found.indices["idle"] == {name: s.active_ms + s.idle_timeout_ms for name, s in active.items()}
    assert found.indices["finished"] == {n: s.over_ms for n, s in held if n not in active}
    assert found.indices["heartbeats"] == {w.name: w.heartbeat_ms for w in workers}
    for pool in ("a", "b"):
        hole = model.data.holes.get(pool)
        assert tuple(found.holes[pool].get(key) for key in ("session", "worker", "since_ms")) == (
            (None, None, None) if hole is None else (hole[0], hole[1], str(hole[2]))
        )
        ready = [w for w in workers if w.offer.pool == pool and not w.draining]
        assert found.indices[f"pool:{pool}:free"] == {w.name: model.free(w.name) for w in ready}


def _grant_fields(session: ModelSession) -> tuple[str | None, ...]:
    if session.granted is None:
        return (None,) * 5
    granted = session.granted.steps, session.granted_epoch, session.number, session.granted_ms
    return *map(str, granted), None if session.surplus is None else str(session.surplus.place)


def _level_fields(session: ModelSession) -> tuple[str | None, ...]:
    limit = None if session.limit is None else session.limit[1].to_text(session.limit[0])
    below = str(session.below_ms) if session.below_ms else None
    waits = None if session.waits is None else f"{session.waits[0]} {session.waits[1]}"
    return limit, below, session.stand_in, waits


def _claim_fields(claim: Claim | None) -> tuple[object, ...]:
    if claim is None:
        return (None,) * 5
    return claim.worker.name, claim.worker.incarnation, claim.address, claim.pool, str(claim.cost)
