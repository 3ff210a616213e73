"""The one table: for each state when it holds, what is said, how, and what is offered. The strongest stands first.

Words in braces are filled in: by `tell` from the facts, and in `AT_PAGE` by the page itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from genlock_core.claims.facts import Publishing
from genlock_core.situation.facts import Pictures, SituationFacts
from genlock_core.situation.states import OfferedAct, SessionState, Tone, WaitingFor
from genlock_core.spec.session import Phase

PUBLISHERS: Final = frozenset(
    {
        OfferedAct.TURN_CAMERA_ON,
        OfferedAct.PLAY_FILE,
        OfferedAct.TAKE_OVER,
        OfferedAct.GO_ON,
        OfferedAct.LOWER_STEPS,
        OfferedAct.START_AGAIN,
    }
)
"""What takes the right to publish."""


@dataclass(frozen=True, slots=True)
class StateRow:
    """One state. `holds` is None for what only a page can know."""

    state: SessionState
    holds: Callable[[SituationFacts], bool] | None
    headline: str
    detail: str
    tone: Tone
    offers: tuple[OfferedAct, ...] = ()
    waiting_for: WaitingFor | None = None
    to_viewers: str = ""
    """The detail for those who may only watch, where it is another one."""


def _waits_for_publisher(facts: SituationFacts) -> bool:
    return facts.takes_publisher and facts.publishing is not Publishing.NOW


def _rests(facts: SituationFacts) -> bool:
    return not facts.takes_publisher and facts.viewers == 0 and facts.pictures is not Pictures.MOVING


def _is_stopped(facts: SituationFacts) -> bool:
    return facts.pictures is Pictures.STOPPED


_CAMERA = (OfferedAct.TRY_AGAIN, OfferedAct.PLAY_FILE)
_PUBLISH = (OfferedAct.TURN_CAMERA_ON, OfferedAct.PLAY_FILE)
_OVER = (OfferedAct.START_AGAIN, OfferedAct.ALL_SESSIONS)

TABLE: Final[tuple[StateRow, ...]] = (
    StateRow(
        SessionState.MISSING,
        None,
        "There is no such session",
        "{session} does not exist here.",
        Tone.BAD,
        (OfferedAct.ALL_SESSIONS,),
    ),
    StateRow(
        SessionState.TOKEN_REFUSED,
        None,
        "This token is refused",
        "It was not issued by this installation, is no longer valid, or is for another session or role.",
        Tone.BAD,
        (OfferedAct.USE_TOKEN, OfferedAct.ALL_SESSIONS),
    ),
    StateRow(
        SessionState.TOKEN_NEEDED,
        None,
        "A token is needed here",
        "Open the link that you were given; it ends with #token=…",
        Tone.WARN,
        (OfferedAct.USE_TOKEN, OfferedAct.ALL_SESSIONS),
    ),
    StateRow(
        SessionState.ENDED,
        lambda facts: facts.phase is Phase.ENDED,
        "This session has ended",
        "{why}",
        Tone.QUIET,
        _OVER,
    ),
    StateRow(
        SessionState.FAILED,
        lambda facts: facts.phase is Phase.FAILED,
        "This session has failed",
        "{why}",
        Tone.BAD,
        _OVER,
    ),
    StateRow(
        SessionState.GATEWAY_AWAY,
        None,
        "The gateway does not answer",
        "This page tries again by itself.",
        Tone.WARN,
    ),
    StateRow(
        SessionState.GATEWAY_FULL,
        None,
        "This gateway is full",
        "It has as many people as it may have. This page tries again by itself.",
        Tone.WARN,
    ),
    StateRow(
        SessionState.NO_WORKER,
        lambda facts: facts.busy_workers == 0,
        "No worker is there",
        "Nobody can paint this session before a worker has started. This page tries again by itself.",
        Tone.BAD,
        waiting_for=WaitingFor.WORKER,
    ),
    StateRow(
        SessionState.CAPACITY_FULL,
        lambda facts: facts.busy_workers is not None,
        "{all_workers} {busy}",
        "It starts as soon as there is room; this page tries again by itself. {expect}",
        Tone.WARN,
        waiting_for=WaitingFor.WORKER,
    ),
    StateRow(
        SessionState.RECOVERING,
        lambda facts: facts.phase is Phase.RECOVERING,
        "Recovering",
        "{why} The stream goes on at another worker, and this connection stays.",
        Tone.WARN,
        waiting_for=WaitingFor.WORKER,
    ),
    StateRow(
        SessionState.CAMERA_MISSING,
        None,
        "No camera found",
        "Plug one in, or play a video file instead.",
        Tone.BAD,
        _CAMERA,
    ),
    StateRow(
        SessionState.CAMERA_REFUSED,
        None,
        "The camera was refused",
        "Allow the camera for this page in the browser's address bar, then try again.",
        Tone.BAD,
        _CAMERA,
    ),
    StateRow(
        SessionState.CAMERA_BUSY,
        None,
        "The camera is busy",
        "Another program is using it. Close that one, then try again.",
        Tone.BAD,
        _CAMERA,
    ),
    StateRow(
        SessionState.CAMERA_INSECURE,
        None,
        "No camera on this address",
        "Browsers give the camera only to https pages and to this machine's own address (127.0.0.1 or localhost).",
        Tone.BAD,
        (OfferedAct.PLAY_FILE,),
    ),
    StateRow(
        SessionState.SOMEBODY_PUBLISHES,
        None,
        "Somebody else is publishing",
        "This session has a publisher already. You can watch and steer it meanwhile.",
        Tone.WARN,
        (OfferedAct.TAKE_OVER,),
    ),
    StateRow(
        SessionState.CONNECTING,
        None,
        "Connecting",
        "{progress} …",
        Tone.QUIET,
        waiting_for=WaitingFor.PICTURE,
    ),
    StateRow(
        SessionState.WAITING_FOR_PUBLISHER,
        lambda facts: _waits_for_publisher(facts) and facts.publishing is Publishing.NEVER,
        "Waiting for a publisher",
        "Turn the camera on, or play a video file.",
        Tone.QUIET,
        _PUBLISH,
        WaitingFor.PUBLISHER,
        to_viewers="The picture starts when somebody publishes.",
    ),
    StateRow(
        SessionState.NOBODY_PUBLISHES,
        _waits_for_publisher,
        "Nobody publishes",
        "The publisher has gone. Turn the camera on, or play a video file.",
        Tone.QUIET,
        _PUBLISH,
        WaitingFor.PUBLISHER,
        to_viewers="The publisher has gone. The picture goes on when somebody publishes.",
    ),
    StateRow(
        SessionState.RESTING,
        _rests,
        "Nobody watches",
        "It paints by itself as soon as somebody watches.",
        Tone.QUIET,
        waiting_for=WaitingFor.VIEWER,
    ),
    StateRow(
        SessionState.WAITING_FOR_WORKER,
        lambda facts: facts.phase is Phase.PENDING,
        "Waiting for a worker",
        "A worker is asked for; this page goes on by itself.",
        Tone.QUIET,
        waiting_for=WaitingFor.WORKER,
    ),
    StateRow(
        SessionState.TROUBLE,
        lambda facts: facts.takes_publisher and facts.trouble is not None,
        "The source cannot be used",
        "{trouble}",
        Tone.BAD,
        (OfferedAct.TAKE_OVER,),
        WaitingFor.SOURCE,
    ),
    StateRow(
        SessionState.PAUSED,
        lambda facts: facts.paused,
        "Paused",
        "The picture stands still until somebody lets it go on.",
        Tone.QUIET,
        (OfferedAct.GO_ON,),
        WaitingFor.PERSON,
    ),
    StateRow(
        SessionState.STALLED,
        lambda facts: _is_stopped(facts) and (facts.source_moves or not facts.takes_publisher),
        "No picture comes",
        "The source arrives, and the worker makes no picture of it.",
        Tone.WARN,
        waiting_for=WaitingFor.PICTURE,
    ),
    StateRow(
        SessionState.SOURCE_STILL,
        _is_stopped,
        "The source stands still",
        "Nothing new comes from the publisher, so the picture stands still as well.",
        Tone.QUIET,
        (OfferedAct.TAKE_OVER,),
        WaitingFor.SOURCE,
    ),
    StateRow(
        SessionState.NOT_ARRIVING,
        None,
        "No picture arrives here",
        "The session is live, and nothing of it reaches this browser. Its network may be the reason.",
        Tone.WARN,
        waiting_for=WaitingFor.PICTURE,
    ),
    StateRow(
        SessionState.STARTING,
        lambda facts: facts.pictures is not Pictures.MOVING,
        "The first picture is on its way",
        "The source arrives, and the worker makes the first picture of it.",
        Tone.QUIET,
        waiting_for=WaitingFor.PICTURE,
    ),
    StateRow(
        SessionState.TOO_SLOW,
        lambda facts: facts.late_share is not None,
        "Too slow for {frame_rate} pictures a second",
        "{machine}: {late} of the pictures come late. {slow_advice}",
        Tone.WARN,
        (OfferedAct.LOWER_STEPS,),
    ),
    StateRow(
        SessionState.LOWERED,
        lambda facts: facts.lowered is not None,
        "{granted}: {why_lowered}",
        "{until}",
        Tone.WARN,
    ),
    StateRow(
        SessionState.MACHINE_BUSY,
        lambda facts: facts.strained,
        "Live, painted plainly",
        "This machine is busy: its engine paints more plainly, so that no picture comes late.",
        Tone.WARN,
    ),
    StateRow(
        SessionState.APPROXIMATED,
        lambda facts: facts.is_halved or 0 < facts.steps_running < facts.steps_asked,
        "Live, with fewer {fewer}",
        "{less}, so that no picture comes late.",
        Tone.GOOD,
    ),
    StateRow(
        SessionState.LIVE,
        lambda _: True,
        "Live",
        "",
        Tone.GOOD,
    ),
)

AT_PAGE: Final = frozenset(row.state for row in TABLE if row.holds is None)
"""What only a page can know."""
