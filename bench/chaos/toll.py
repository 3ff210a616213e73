"""What harm cost: pure, from what each watcher suffered and from the books of the claims."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.result import Table, percentile
from genlock_core.claims.facts import WorkerView
from genlock_core.claims.record import SessionRecord


@dataclass(frozen=True, slots=True)
class Toll:
    """What one piece of harm cost one stream."""

    harm: str
    stream: str
    gap_s: float
    """The longest time without a new picture, from the harm until all is well."""
    back: int
    """Pictures that were older than one that was shown before."""
    cuts: int
    """Connections that ended without anybody asking to leave, and pictures that did not come for long."""


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


def table(title: str, tolls: Sequence[Toll], undisturbed_s: Mapping[str, float], note: str) -> Table:
    """A row for each kind of harm, in the order in which they were done first."""
    rows = []
    for harm in dict.fromkeys(toll.harm for toll in tolls):
        of_kind = [toll for toll in tolls if toll.harm == harm]
        gaps = [toll.gap_s for toll in of_kind]
        rows.append(
            (
                harm,
                str(len(gaps)),
                *(f"{percentile(gaps, share) * 1_000:.0f} ms" for share in (0.5, 0.99, 1.0)),
                str(sum(toll.back for toll in of_kind)),
                str(sum(toll.cuts for toll in of_kind)),
            )
        )
    quiet = ", ".join(f"{name} {gap_s * 1_000:.0f} ms" for name, gap_s in undisturbed_s.items())
    columns = ("harm", "streams watched", "gap p50", "p99", "worst", "pictures that went back", "cuts")
    return Table(title, columns, tuple(rows), f"{note} Longest gap without harm in the same run: {quiet}.")
