"""How many workers a pool wants, and which go when there are too many. Scale up at once, scale in late and gently.

What a session pays is known only as the sum over each worker's sessions. So a worker's sessions are taken as one block
that is never split: a plan that moves whole blocks is one that can be carried out, whatever the sessions in them are.
"""

import math
from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genlock_core.claims.identity import CAPACITY
from genlock_core.spec.pool import WorkerPoolSpec
from genlock_operator.autoscale.recommend import Recommendation
from genlock_operator.plan.pool.members import Member, Members

LARGEST_RESERVE = 0.9
"""A reserve beyond this would ask for workers without end."""
STEP_SHARE = 0.25
"""At most this share of a pool leaves at a time when there are too many."""
MOST_TRIED = 32
"""So many workers are looked at, in the order of preference, for who leaves next."""


@dataclass(frozen=True, slots=True)
class Need:
    """The workers that sessions need."""

    workers: int
    loads: tuple[int, ...]
    """What sessions take of them, in thousandths; fewer than `workers` where a reserve asks for more."""


def place(blocks: Iterable[int], loads: Iterable[int]) -> list[int]:
    """The loads of all workers, in ascending order, once the blocks are placed one after the other.

    Each goes to the fullest worker with room, as claims do, or to a new one; one larger than a worker has one of its
    own.
    """
    after = sorted(loads)
    for block in blocks:
        fullest = bisect_right(after, CAPACITY - block) - 1
        insort(after, (after.pop(fullest) if fullest >= 0 else 0) + block)
    return after


def needed(loads: Sequence[int], to_place: Sequence[int], *, reserve: float = 0.0) -> Need:
    """The workers that sessions need: those on workers (`loads`) and those that need room (`to_place`).

    If they find room as things stand, it is what they need when packed (the workers beyond that are emptied one after
    the other); if not, it is as many as give them room without anybody else being moved.
    """
    busy = [load for load in loads if load]
    blocks = sorted((block for block in to_place if block), reverse=True)
    after = place(blocks, busy)
    if len(after) == len(busy):
        after = place(sorted(after, reverse=True), [])  # packed, the largest first

    # The reserve is a share of the whole; the last digits of a float must not ask for another worker.
    unreserved = CAPACITY * (1 - min(reserve, LARGEST_RESERVE))
    return Need(max(len(after), math.ceil(sum(after) / unreserved - 1e-9)), tuple(after))


def need_of(members: Members, spec: WorkerPoolSpec, waiting: Sequence[int]) -> Need:
    """The workers that its sessions need at the levels that they ask for.

    `waiting`: what those without a worker would take. A worker that is overloaded has no room for them, so it counts as
    full. What sessions ask for beyond what their worker has is room that is missing: who comes next, or would have
    come to that worker, finds it elsewhere, until it has given its own sessions what they ask for.
    """
    asked = [worker.asked for worker in members.staying]
    beyond = [part for load in asked for part in _pieces(load - CAPACITY)]
    loads = [min(load, CAPACITY) for load in asked]
    return needed(loads, [*members.to_place, *beyond, *waiting], reserve=spec.move_reserve)


def _pieces(load: int) -> list[int]:
    """The load in parts that a worker holds; none of nothing or less."""
    whole, rest = divmod(max(0, load), CAPACITY)
    return [CAPACITY] * whole + ([rest] if rest else [])


def missing(members: Members, spec: WorkerPoolSpec, want: int) -> int:
    """How many workers to create: of the template's revision, no more than the surge beyond what is wanted."""
    surge = spec.rollout.surge if members.outdated else 0
    return max(0, min(want - len(members.current), want + surge - len(members.staying)))


def surplus(members: Members, spec: WorkerPoolSpec, want: int) -> int:
    """How many workers too many there are; a rollout's surge is none."""
    surge = spec.rollout.surge if members.outdated else 0
    return max(0, len(members.staying) - want - surge)


def victims(
    members: Members, spec: WorkerPoolSpec, waiting: Sequence[int], count: int, *, by: Recommendation
) -> tuple[Member, ...]:
    """Who leaves of `count` that are too many: at most a quarter of the pool at a time, those on their way counted.

    Free ones first, then the emptiest whose sessions fit on others, as long as nobody has to be created for it.
    """
    most = max(1, int(len(members.staying) * STEP_SHARE)) - len(members.leaving)
    chosen: list[Member] = []
    left = members

    # One after the other, as who may leave depends on who has left before.
    for worker in _order(members)[:MOST_TRIED]:
        if len(chosen) >= min(count, most):
            break
        without = left.without([worker])
        may_go = _fits(without) if worker.busy else _keeps_buffer(left, by)
        if may_go and _stays_enough(without, spec, waiting, by):
            chosen.append(worker)
            left = without
    return tuple(chosen)


def _order(members: Members) -> list[Member]:
    """The ones to go first come first: free, of an old revision, the emptiest, not ready, on the emptiest node."""
    on_node = {worker.pod.node: 0 for worker in members.staying}
    for worker in members.staying:
        on_node[worker.pod.node] += 1
    return sorted(
        members.staying,
        key=lambda worker: (
            worker.busy,
            worker.pod.revision == members.revision,
            worker.load,
            worker.ready,
            on_node[worker.pod.node],
            -worker.pod.meta.created_ms,
            worker.name,
        ),
    )


def _fits(members: Members) -> bool:
    """Whether the sessions of those that leave find room on workers that take sessions."""
    loads = [worker.taken for worker in members.staying if worker.ready]
    return len(place(sorted(members.to_place, reverse=True), loads)) == len(loads)


def _keeps_buffer(members: Members, by: Recommendation) -> bool:
    """Whether there are more empty workers than the buffer; a pool above its cap cannot ask for one."""
    return len(members.staying) > by.cap or sum(not worker.busy for worker in members.staying) > by.buffer


def _stays_enough(members: Members, spec: WorkerPoolSpec, waiting: Sequence[int], by: Recommendation) -> bool:
    """Whether the pool wants no more workers than stay; else one would be created in the place of the one that left."""
    return min(by.asked_with(need_of(members, spec, waiting).workers), by.cap) <= len(members.staying)
