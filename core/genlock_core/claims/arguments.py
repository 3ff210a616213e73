"""What the scripts of `claims` are given, as text."""

import json

from genlock_core.claims.identity import WorkerOffer
from genlock_core.claims.pulse import Vitals


def vitals(said: Vitals | None) -> tuple[int | str, ...]:
    """The arguments of `renew` that a worker of the release before does not give."""
    if said is None:
        return ()
    return (
        said.alive,
        said.phase,
        said.late_ms,
        said.patience_ms,
        int(said.patient),
        int(said.overloaded),
    )


def offer(made: WorkerOffer) -> str:
    return json.dumps(
        {
            "name": made.identity.name,
            "incarnation": made.identity.incarnation,
            "pool": made.pool,
            "model": made.model,
            "capacity": made.capacity,
            "address": made.address,
            "oldest": made.formats.oldest,
            "newest": made.formats.newest,
            "gpu_product": made.gpu_product,
            "gpus": made.gpus,
            "engine": made.engine,
            "halves": made.halves,
        }
    )
