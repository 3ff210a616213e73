"""What is told of a session in kubectl: the words that pages and the command have for the same facts."""

from genlock_core.claims.facts import Publishing
from genlock_core.claims.record import SessionRecord
from genlock_core.situation.facts import Pictures, SituationFacts
from genlock_core.situation.lowered import lowered
from genlock_core.situation.situation import Told, situation_of
from genlock_core.spec.session import Phase, SourceType
from genlock_operator.plan.session.facts import SessionFacts


def told_of(facts: SessionFacts, phase: Phase, *, lived: bool) -> Told:
    """By the record and the figures that a gateway posted last; `lived`: it was told to be live the last time."""
    record = facts.record
    session = record.session if record is not None else facts.seen.session
    figures = facts.seen.figures
    steps = 0 if session is None else session.steps
    live = phase is Phase.LIVE or (phase is Phase.DRAINING and lived)
    if live:
        publishing = Publishing.NOW
    else:
        publishing = Publishing.GONE if lived or facts.stored.figures is not None else Publishing.NEVER

    return situation_of(
        SituationFacts(
            session=facts.seen.name,
            phase=Phase.LIVE if live else phase,
            reason="" if record is None else record.reason,
            source=SourceType.WEBRTC if session is None else session.source.type,
            publishing=publishing,
            pictures=Pictures.MOVING if live else Pictures.NONE,
            viewers=0 if figures is None else figures.viewers,
            frame_rate=16 if session is None else session.frame_rate,
            frame_rate_running=None if figures is None else figures.frame_rate,
            late_share=None if figures is None else figures.late_share,
            steps_asked=steps,
            steps_running=steps if figures is None else figures.steps,
            lowered=None if record is None else lowered(record),
        )
    )


def why_over(record: SessionRecord) -> str:
    """Why a session that has ended or failed is over, as a sentence."""
    return situation_of(SituationFacts(session=record.name, phase=record.phase, reason=record.reason)).detail
