"""What is told of a session: pure, facts in and words out."""

from dataclasses import dataclass

from genlock_core.situation.facts import SituationFacts
from genlock_core.situation.states import OfferedAct, SessionState, Tone, WaitingFor
from genlock_core.situation.table import PUBLISHERS, TABLE, StateRow
from genlock_core.situation.words import ENDS, LOWERED, MOVES, TROUBLES, UNTIL
from genlock_core.spec.session import Phase
from genlock_core.tokens import Role


@dataclass(frozen=True, slots=True)
class Told:
    """What is going on, for programs (`state`, `waiting_for`), and for people."""

    state: SessionState
    headline: str
    """A few words."""
    detail: str
    """A sentence or two that say what it means and what to do; "" where that is plain."""
    tone: Tone
    offers: tuple[OfferedAct, ...]
    """What the person who is told can do, and may."""
    waiting_for: WaitingFor | None

    @property
    def sentence(self) -> str:
        """Both in one line, for a terminal."""
        return f"{self.headline}. {self.detail}" if self.detail else self.headline


def situation_of(facts: SituationFacts) -> Told:
    """Of all states that hold, the one that stands first in the table."""
    row = next(row for row in TABLE if _holds(row, facts))
    detail = row.to_viewers if row.to_viewers and not facts.role.implies(Role.PUBLISH) else row.detail
    words = _words(facts)
    return Told(
        state=row.state,
        headline=row.headline.format_map(words),
        detail=detail.format_map(words).strip(),
        tone=row.tone,
        offers=_offers(row, facts),
        waiting_for=row.waiting_for,
    )


def _holds(row: StateRow, facts: SituationFacts) -> bool:
    return row.state in facts.at_page if row.holds is None else row.holds(facts)


# -- what is offered ---------------------------------------------------------------------------------------------------


def _offers(row: StateRow, facts: SituationFacts) -> tuple[OfferedAct, ...]:
    """What can be done now, as far as the role allows; who may not do it learns whom to ask."""
    possible = [offer for offer in row.offers if _is_possible(offer, facts)]
    if facts.role.implies(Role.PUBLISH):
        return tuple(possible)
    allowed = [offer for offer in possible if offer not in PUBLISHERS]
    if len(allowed) < len(possible):
        allowed.insert(0, OfferedAct.GET_PUBLISHER_LINK)
    return tuple(allowed)


def _is_possible(offer: OfferedAct, facts: SituationFacts) -> bool:
    match offer:
        case OfferedAct.START_AGAIN:
            return facts.may_start_again
        case OfferedAct.LOWER_STEPS:
            return facts.steps_asked > 1
        case OfferedAct.TURN_CAMERA_ON | OfferedAct.PLAY_FILE | OfferedAct.TAKE_OVER:
            return facts.takes_publisher
        case _:
            return True


# -- the words that the facts fill in ----------------------------------------------------------------------------------


_CATCHES_UP = "They take new sessions again once the pictures that they make come in time."


def _words(facts: SituationFacts) -> dict[str, str]:
    return {
        "session": facts.session,
        "why": _why(facts),
        "all_workers": _all_workers(facts.busy_workers or 0),
        "busy": "overloaded" if facts.overloaded else "busy",
        "expect": _CATCHES_UP if facts.overloaded else _expect(facts),
        "trouble": "" if facts.trouble is None else TROUBLES[facts.trouble],
        "frame_rate": f"{facts.frame_rate_running or facts.frame_rate:g}",
        "machine": "This machine is busy" if facts.strained else "This machine is too slow or busy",
        "late": f"{facts.late_share or 0.0:.0%}",
        "slow_advice": _slow_advice(facts),
        "fewer": "pictures" if facts.is_halved else "steps",
        "less": _less(facts),
        "granted": "" if facts.lowered is None else facts.lowered.share,
        "why_lowered": "" if facts.lowered is None else LOWERED[facts.lowered.reason],
        "until": "" if facts.lowered is None else UNTIL[facts.lowered.reason],
        # Only a page knows it.
        "progress": "",
    }


def _why(facts: SituationFacts) -> str:
    if facts.phase is Phase.RECOVERING:
        return MOVES.get(facts.reason, "Its worker does not serve it any more.")
    return ENDS.get(facts.reason) or _as_sentence(facts.reason)


def _as_sentence(words: str) -> str:
    text = words[0].upper() + words[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _all_workers(count: int) -> str:
    return "The one worker is" if count == 1 else f"All {count} workers are"


def _expect(facts: SituationFacts) -> str:
    """When room is expected. An idle session may wake up and a worker may be late, so nothing is promised."""
    room_s, worker_s = facts.next_room_s, facts.next_worker_s
    if worker_s is not None and (room_s is None or worker_s <= room_s):
        return f"Another worker is expected in about {_about(worker_s)}."
    if room_s is not None:
        return f"An idle session gives its place back in about {_about(room_s)}."
    return "Every session is in use: nobody knows when one ends."


def _about(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"


def _less(facts: SituationFacts) -> str:
    """What the session runs with, of what was asked for."""
    less = []
    if facts.is_halved:
        less.append(f"{facts.frame_rate_running:g} of {facts.frame_rate} pictures a second")
    if 0 < facts.steps_running < facts.steps_asked:
        less.append(f"{facts.steps_running} of {facts.steps_asked} denoising steps")
    return " and ".join(less)


def _slow_advice(facts: SituationFacts) -> str:
    return "Fewer denoising steps help." if facts.steps_asked > 1 else "A smaller picture or a faster machine helps."
