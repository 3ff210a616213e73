"""What harm cost: pure, from what each watcher suffered and from the books of the claims."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.result import Table, percentile
from genlock_core.claims.facts import WorkerView
from genlock_core.claims.record import SessionRecord


@dataclass(frozen=True, slots=True)
class Toll:
    """What one piece of harm cost one stream."""

    harm: str
    stream: str
    hit: bool
    """The stream needs what was harmed; False: it only was there."""
    gap_s: float
    """The longest time without a new picture, from the harm until all is well."""
    back: int
    """Pictures that were older than one that was shown before."""
    cuts: int
    """Connections that ended without anybody asking to leave, and pictures that did not come for long."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One piece of harm, when it was done (UTC), and what came of it."""

    harm: str
    at: str
    tolls: tuple[Toll, ...]
    troubles: tuple[str, ...] = ()
    """What was not as it should be, in words."""
    restored: tuple[str, ...] = ()
    """The workers that took a session over for it, one entry for each session."""


def mistakes(records: Sequence[SessionRecord], workers: Sequence[WorkerView], wanted: Sequence[str]) -> list[str]:
    """What is wrong in the books, in words: a session that is lost or owned twice, room that is nobody's.

    `wanted` are the sessions that have to be there, each with a worker.
    """
    by_name = {record.name: record for record in records}
    found = [f"{name} is lost" for name in wanted if name not in by_name]
    found += [f"{name} has no worker" for name in wanted if name in by_name and by_name[name].owner is None]

    owners: dict[str, list[str]] = {}
    for worker in workers:
        for session in worker.sessions:
            owners.setdefault(session, []).append(worker.identity.name)
        used = sum(by_name[session].cost for session in worker.sessions if session in by_name)
        if worker.free + used != worker.capacity:
            found.append(f"{worker.identity.name}: {worker.free} free and {used} used of {worker.capacity}")
    found += [f"{session} is owned by {' and '.join(names)}" for session, names in owners.items() if len(names) > 1]
    for session, names in owners.items():
        record = by_name.get(session)
        if record is None or record.owner is None or record.owner.name not in names:
            found.append(f"{names[0]} has {session}, whose record names another owner")
    return found


COLUMNS = ("harm", "strikes", "gaps", "p50", "p99", "worst", "worst of the others", "pictures back", "cuts", "not well")


def table(title: str, strikes: Sequence[Strike], note: str) -> Table:
    """A row for each kind of harm, by name: the gaps of the streams that it hit, and the worst gap of the others."""
    rows = []
    for harm in sorted({strike.harm for strike in strikes}):
        of_kind = [strike for strike in strikes if strike.harm == harm]
        tolls = [toll for strike in of_kind for toll in strike.tolls]
        gaps = [toll.gap_s for toll in tolls if toll.hit]
        others = [toll.gap_s for toll in tolls if not toll.hit]
        rows.append(
            (
                harm,
                str(len(of_kind)),
                str(len(gaps)),
                *(milliseconds(percentile(gaps, share)) if gaps else "-" for share in (0.5, 0.99, 1.0)),
                milliseconds(max(others)) if others else "-",
                str(sum(toll.back for toll in tolls)),
                str(sum(toll.cuts for toll in tolls)),
                str(sum(bool(strike.troubles) for strike in of_kind)),
            )
        )
    return Table(title, COLUMNS, tuple(rows), note)


def troubles_table(title: str, strikes: Sequence[Strike]) -> list[Table]:
    """A row for each strike after which not all was as it should be; no table if there is none."""
    rows = tuple((one.at, one.harm, "; ".join(one.troubles)) for one in strikes if one.troubles)
    return [Table(title, ("at (UTC)", "harm", "what"), rows, "The run went on.")] if rows else []


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1_000:.0f} ms"
