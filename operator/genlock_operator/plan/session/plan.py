"""What the operator does about a StreamSession: the order in which its plan asks.

First the facts are established, then the steps are chosen, then the status is written. No module is asked twice in a
plan, and none calls back into one that called it. Nothing is remembered between two plans.
"""

from dataclasses import dataclass

from genlock_core.claims.record import FINISHED
from genlock_core.spec.status import ConditionType
from genlock_operator.actions import SessionAction
from genlock_operator.observed import Demand, SessionSeen
from genlock_operator.plan.conditions import ConditionVerdict, conditions
from genlock_operator.plan.session.demand import demand_of
from genlock_operator.plan.session.ending import after_the_end, clear_away, finish
from genlock_operator.plan.session.facts import facts_of
from genlock_operator.plan.session.report import report, write_news
from genlock_operator.plan.session.status import status_of
from genlock_operator.plan.session.steps import next_steps
from genlock_operator.plan.session.why_not import hindrances_of
from genlock_operator.reasons import Reason


@dataclass(frozen=True, slots=True)
class PlannedActions:
    """What one look at a session leads to."""

    actions: list[SessionAction]
    """In their order; at most LookAgain where all is as it should be."""
    demand: Demand | None = None
    """The room that the session waits for; its pool's plan counts it."""


def plan_session(seen: SessionSeen, now_ms: int) -> PlannedActions:
    """The next actions for this session, and its demand."""
    resource = seen.resource
    found = seen.record
    if resource is None or resource.meta.deleting:
        # A record without a uid is a gateway's own: no object ever made it, so nothing of it was deleted.
        return PlannedActions(clear_away(found) if found is not None and found.uid else [])

    # A record of an object that is gone is cleared away first, and the end of a session is final.
    facts = facts_of(seen, resource)
    if facts.foreign is not None and facts.foreign.uid:
        return PlannedActions(clear_away(facts.foreign))
    if facts.stored.phase in FINISHED:
        return PlannedActions(after_the_end(facts, now_ms))
    if facts.foreign is not None and facts.foreign.finished:
        return PlannedActions(clear_away(facts.foreign))
    if facts.record is not None and facts.record.finished:
        return PlannedActions(finish(facts, facts.record, now_ms))

    # The session goes on: its next step, or its status if no step is left to take now.
    demand = demand_of(facts)
    steps = next_steps(facts, now_ms)
    if steps:
        return PlannedActions(steps, demand)
    status = status_of(facts, hindrances_of(facts), now_ms)
    return PlannedActions(report(facts, status, now_ms), demand)


def plan_without_store(seen: SessionSeen, now_ms: int) -> list[SessionAction]:
    """What to say while Redis does not answer: nobody can tell whether a worker has it. Nothing else changes."""
    if seen.resource is None or seen.resource.meta.deleting:
        return []
    facts = facts_of(seen, seen.resource)
    if facts.stored.phase in FINISHED:
        return []
    message = "Redis does not answer; live streams go on, and nothing is assigned until it does"
    verdict = ConditionVerdict(ConditionType.ASSIGNED, None, Reason.STORE_AWAY, message)
    judged = conditions(facts.stored.conditions, [verdict], generation=facts.meta.generation, now_ms=now_ms)
    return write_news(facts, facts.stored.model_copy(update={"conditions": judged}))
