"""Which rows are in the next batch: a pure function over all sessions of the worker.

A row is (session, denoising step), so that several steps of one session and several sessions are one batch dimension.
Rows of one shape share a forward. The earliest deadline goes first. Where sessions lose input, the one that lost most
goes first, so that losses even out and nobody starves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from genlock_worker.engines.contract import BatchShape, Row
from genlock_worker.rows.cost_model import CostModel

LOSS_BUCKET = 0.05
"""Losses that differ by less than this count as equal; among equals the earlier deadline goes first."""
HOLD_LOAD = 0.6
"""Below this share of busy time an idle moment is worth more than a shared forward."""
DEADLINE_MARGIN_S = 0.010
"""What is left for encoding and sending when a row is held."""
FAIR_GAP = 0.15
"""A session that lost less than another by this much begins no chunk at its expense."""
NEARLY_FREE = 0.03
"""A row that makes a forward longer by less than this share always comes along."""
LEAD_S = 0.005
"""How long before the device is free the next batch is submitted: what choosing and handing over take. Earlier would
fix who is in it before the last arrivals are there."""
MAX_ROWS = 64
LONGEST_S = 0.5
"""No row comes along that makes a micro-step longer than this: the engine's progress shows in heartbeats only between
micro-steps, and a worker without progress for 1 s is taken for stuck."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row whose inputs are all there."""

    row: Row
    shape: BatchShape
    deadline_s: float
    """When the chunk's first frame is due (monotonic seconds)."""
    rows_left: int
    """How many rows the chunk still needs, this one included."""
    loss: float
    """The share of the session's recent input chunks that were lost, 0 to 1."""
    encoded: bool = True
    """Whether its chunk was taken in; if not, that comes before the row."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A row that is expected to become ready, with the session's next input chunk."""

    session: str
    shape: BatchShape
    at_s: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows to run in one forward."""

    rows: tuple[Row, ...]
    shape: BatchShape


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to run before `until_s` (monotonic seconds); None: not before something new arrives."""

    until_s: float | None


def next_batch(
    candidates: Sequence[Candidate],
    cost: CostModel,
    now_s: float,
    *,
    expected: Sequence[Arrival] = (),
    load: float = 0.0,
    free_s: float = 0.0,
    max_rows: int = MAX_ROWS,
) -> Batch | Wait:
    """The batch to submit now, or how long to hold its rows: for the device, or for company.

    `load` is the engine's busy share of the last second, 0 to 1; `free_s` is when the device should be done with what
    it has. The batch is submitted only so early as the device needs it: who arrives until then is in it. A row is held
    only for a row of another session that is expected before any deadline is at risk and sooner than a forward of its
    own would pay off.
    """
    if not candidates:
        return Wait(None)
    if now_s < free_s - LEAD_S:
        return Wait(free_s - LEAD_S)

    # Whatever is submitted now begins when the device is free.
    now_s = max(now_s, free_s)
    ordered = sorted(candidates, key=_urgency)
    head = ordered[0]
    batch = _fill(head, [other for other in ordered[1:] if other.shape == head.shape], cost, now_s, max_rows)
    hold_until = _hold(batch, cost, now_s, expected) if load >= HOLD_LOAD and len(batch) < max_rows else None
    if hold_until is not None:
        return Wait(hold_until)

    return Batch(tuple(candidate.row for candidate in batch), head.shape)


def _urgency(candidate: Candidate) -> tuple[int, float, int, int]:
    return (-int(candidate.loss / LOSS_BUCKET), candidate.deadline_s, candidate.row.chunk, candidate.row.step)


def _finish(candidate: Candidate, cost: CostModel, start_s: float, rows: int) -> float:
    """When the candidate's chunk would be done if all its batches had `rows` rows."""
    encode_s = 0.0 if candidate.encoded else cost.encode_s(candidate.shape)
    return start_s + encode_s + candidate.rows_left * cost.seconds(candidate.shape, rows)


def _fill(
    head: Candidate, others: Sequence[Candidate], cost: CostModel, now_s: float, max_rows: int
) -> list[Candidate]:
    """Add rows in their order, as long as no chunk that is on time becomes late by it.

    A chunk that would be late anyway is not begun here, nor one whose session lost less than the head's: both would
    slow the chunks in flight. Rows that are nearly free are added all the same. As a head a late chunk is begun.
    """
    batch = [head]
    for other in others:
        size = len(batch) + 1
        if size > max_rows or cost.seconds(head.shape, size) > LONGEST_S:
            break

        if not _is_nearly_free(cost, head.shape, size):
            begins = other.row.step == 0
            if begins and (other.loss < head.loss - FAIR_GAP or _finish(other, cost, now_s, size) > other.deadline_s):
                continue
            in_time = [c for c in batch if _finish(c, cost, now_s, size - 1) <= c.deadline_s]
            if any(_finish(c, cost, now_s, size) > c.deadline_s for c in in_time):
                continue
        batch.append(other)

    return batch


def _is_nearly_free(cost: CostModel, shape: BatchShape, size: int) -> bool:
    """Whether the last row of a batch of `size` rows adds little to what the others take."""
    return cost.cost(shape).row_s <= NEARLY_FREE * cost.seconds(shape, size - 1)


def _hold(batch: Sequence[Candidate], cost: CostModel, now_s: float, expected: Sequence[Arrival]) -> float | None:
    """Until when the batch waits for one more row, or None: it runs now."""
    shape, sessions = batch[0].shape, {candidate.row.session for candidate in batch}
    coming = [a.at_s for a in expected if a.shape == shape and a.session not in sessions and a.at_s > now_s]
    if not coming:
        return None
    until_s = min(coming)
    if until_s - now_s >= cost.cost(shape).base_s:
        return None
    size = len(batch) + 1
    if any(_finish(c, cost, until_s, size) + DEADLINE_MARGIN_S > c.deadline_s for c in batch):
        return None
    return until_s
