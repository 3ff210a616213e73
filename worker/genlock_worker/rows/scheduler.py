"""Which rows are in the next batch: a pure function over all sessions of the worker.

A row is (session, denoising step), so that several steps of one session and several sessions are one batch dimension.
Rows of one shape share a forward, up to the knee of its cost: more rows would give no more in a second, and only make
all of them wait. Whose viewers run out of pictures first goes first (its *slack of playout* is least). Where sessions
lose input, the one that lost most goes first, so that losses even out and nobody starves.
"""

from collections.abc import Callable, Sequence
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
DEADLINE_RESERVE_S = 0.1
"""Slack ends so long before the deadline: some forwards of others may still come between."""
NEARLY_FREE = 0.03
"""A row that makes a forward longer by less than this share always comes along."""
LEAD_S = 0.005
"""How long before the device is free the next batch is submitted: what choosing and handing over take. Earlier would
fix who is in it before the last arrivals are there."""
MAX_ROWS = 64
ROWS_BEYOND_KNEE = 1
"""A batch may have one row more than pays by what was learned: or nobody would see that it pays by now."""
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
    plays_until_s: float
    """When its viewers have seen all that comes before the chunk, and it may be shown; the deadline where nothing was
    shown yet."""
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


Order = Callable[[Candidate, CostModel], tuple[float, ...]]
"""A key by which candidates are sorted: the head of a batch has the least."""


def by_slack(candidate: Candidate, cost: CostModel) -> tuple[float, ...]:
    """The least slack of playout first: for how long viewers can still be shown what is there, less what the chunk
    needs until then. A session that plays far behind its source would always come last, and late: where its deadline
    is nearer, less a reserve, that counts."""
    served_s = min(candidate.plays_until_s, candidate.deadline_s - DEADLINE_RESERVE_S)
    return _by_loss(candidate, served_s - _rest_s(candidate, cost, 1))


def by_deadline(candidate: Candidate, _: CostModel) -> tuple[float, ...]:
    """The earliest deadline first."""
    return _by_loss(candidate, candidate.deadline_s)


def _lost(candidate: Candidate) -> int:
    return int(candidate.loss / LOSS_BUCKET)


def _by_loss(candidate: Candidate, then: float) -> tuple[float, ...]:
    return (-_lost(candidate), then, candidate.row.chunk, candidate.row.step)


def next_batch(
    candidates: Sequence[Candidate],
    cost: CostModel,
    now_s: float,
    *,
    expected: Sequence[Arrival] = (),
    load: float = 0.0,
    free_s: float = 0.0,
    max_rows: int = MAX_ROWS,
    order: Order = by_slack,
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
    ordered = sorted(candidates, key=lambda candidate: order(candidate, cost))
    head = _endangered(ordered, cost, now_s, max_rows) or ordered[0]
    most = _most_rows(head.shape, cost, max_rows)
    others = [other for other in ordered if other.shape == head.shape and other is not head]
    batch = _fill(head, others, cost, now_s, most)
    hold_until = _hold(batch, cost, now_s, expected) if load >= HOLD_LOAD and len(batch) < most else None
    if hold_until is not None:
        return Wait(hold_until)

    return Batch(tuple(candidate.row for candidate in batch), head.shape)


def _most_rows(shape: BatchShape, cost: CostModel, max_rows: int) -> int:
    knee = cost.knee(shape)
    return max_rows if knee is None else min(max_rows, knee + ROWS_BEYOND_KNEE)


def _endangered(ordered: Sequence[Candidate], cost: CostModel, now_s: float, max_rows: int) -> Candidate | None:
    """The chunk due first of those that are in time, and would be late if the first in order went first; or None.
    Of sessions that lost less than the first none is.

    An order that looks at viewers' buffers would let a stream that has just begun wait for all that run.
    """
    head = ordered[0]
    alike = sum(other.shape == head.shape for other in ordered)
    ends_s = now_s + cost.seconds(head.shape, min(alike, _most_rows(head.shape, cost, max_rows)))
    late = [
        other
        for other in ordered[1:]
        if _lost(other) >= _lost(head)
        and _finish(other, cost, now_s, 1) <= other.deadline_s < _finish(other, cost, ends_s, 1) + DEADLINE_MARGIN_S
    ]
    return min(late, key=lambda other: by_deadline(other, cost), default=None)


def _rest_s(candidate: Candidate, cost: CostModel, rows: int) -> float:
    """What the candidate's chunk still needs if all its batches have `rows` rows."""
    encode_s = 0.0 if candidate.encoded else cost.encode_s(candidate.shape)
    return encode_s + candidate.rows_left * cost.seconds(candidate.shape, rows)


def _finish(candidate: Candidate, cost: CostModel, start_s: float, rows: int) -> float:
    """When the candidate's chunk would be done if all its batches had `rows` rows."""
    return start_s + _rest_s(candidate, cost, rows)


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
    before_s = cost.seconds(shape, size - 1)
    return cost.seconds(shape, size) - before_s <= NEARLY_FREE * before_s


def _hold(batch: Sequence[Candidate], cost: CostModel, now_s: float, expected: Sequence[Arrival]) -> float | None:
    """Until when the batch waits for one more row, or None: it runs now."""
    shape, sessions = batch[0].shape, {candidate.row.session for candidate in batch}
    coming = [a.at_s for a in expected if a.shape == shape and a.session not in sessions and a.at_s > now_s]
    if not coming:
        return None
    until_s = min(coming)
    size = len(batch) + 1
    saved_s = cost.seconds(shape, len(batch)) + cost.seconds(shape, 1) - cost.seconds(shape, size)
    if until_s - now_s >= saved_s:
        return None
    if any(_finish(c, cost, until_s, size) + DEADLINE_MARGIN_S > c.deadline_s for c in batch):
        return None
    return until_s
