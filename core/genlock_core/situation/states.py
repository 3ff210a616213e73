"""The words that programs test: states, their tone, what is offered, what a session waits for."""

from enum import StrEnum


class SessionState(StrEnum):
    """What is going on. `table.TABLE` has them in order: of those that hold, the first is told."""

    # What only a page knows stands among the others, as it may matter more or less than they do.
    MISSING = "missing"
    TOKEN_REFUSED = "token-refused"  # noqa: S105 - a state, not a secret
    TOKEN_NEEDED = "token-needed"  # noqa: S105
    ENDED = "ended"
    FAILED = "failed"
    GATEWAY_AWAY = "gateway-away"
    GATEWAY_FULL = "gateway-full"
    NO_WORKER = "no-worker"
    CAPACITY_FULL = "capacity-full"
    RECOVERING = "recovering"
    CAMERA_MISSING = "no-camera"
    CAMERA_REFUSED = "camera-refused"
    CAMERA_BUSY = "camera-busy"
    CAMERA_INSECURE = "camera-insecure"
    SOMEBODY_PUBLISHES = "somebody-publishes"
    CONNECTING = "connecting"
    WAITING_FOR_PUBLISHER = "waiting-for-publisher"
    NOBODY_PUBLISHES = "nobody-publishes"
    RESTING = "resting"
    WAITING_FOR_WORKER = "waiting-for-worker"
    TROUBLE = "trouble"
    PAUSED = "paused"
    STALLED = "stalled"
    SOURCE_STILL = "source-still"
    NOT_ARRIVING = "not-arriving"
    STARTING = "starting"
    TOO_SLOW = "too-slow"
    LOWERED = "lowered"
    MACHINE_BUSY = "machine-busy"
    APPROXIMATED = "approximated"
    LIVE = "live"


class Tone(StrEnum):
    """How a state is shown."""

    GOOD = "good"
    QUIET = "quiet"
    """Nothing is wrong, and nothing moves."""
    WARN = "warn"
    """It may get better by itself."""
    BAD = "bad"


class WaitingFor(StrEnum):
    """Whom or what a session waits for, in a word."""

    PUBLISHER = "publisher"
    VIEWER = "viewer"
    WORKER = "worker"
    SOURCE = "source"
    PICTURE = "picture"
    PERSON = "person"
    """Somebody has to let it go on."""


class OfferedAct(StrEnum):
    """What a person can do about it. Which of them take the right to publish is said by `table.PUBLISHERS`."""

    TURN_CAMERA_ON = "turn-camera-on"
    PLAY_FILE = "play-file"
    TAKE_OVER = "take-over"
    GO_ON = "go-on"
    LOWER_STEPS = "lower-steps"
    START_AGAIN = "start-again"
    USE_TOKEN = "use-token"  # noqa: S105
    GET_PUBLISHER_LINK = "get-publisher-link"
    TRY_AGAIN = "try-again"
    ALL_SESSIONS = "all-sessions"
