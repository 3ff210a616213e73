"""The room that a session waits for. It stands apart from the steps, as the pool's plan reads it: it adds the demands
up and grows."""

from genlock_operator.observed import Demand
from genlock_operator.plan.session.facts import SessionFacts


def demand_of(facts: SessionFacts) -> Demand | None:
    """The demand of a session that goes on, on the first pool that it may go to; None if it waits for no room."""
    if facts.placement is None or facts.foreign is not None:
        return None
    if facts.owner is not None and not facts.waits_to_change:
        return None
    first = facts.open_choices[0]
    return Demand(session=facts.seen.name, pool=first.pool, cost=first.cost, since_ms=facts.meta.created_ms)
