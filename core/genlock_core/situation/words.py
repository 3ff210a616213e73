"""Words that are filled in, or stand beside the table: offers, progress, troubles, ends, moves, engines."""

from typing import Final

from genlock_core.media import Trouble
from genlock_core.situation.lowered import LoweredReason
from genlock_core.situation.states import OfferedAct

OFFERS: Final = {
    OfferedAct.TURN_CAMERA_ON: "Turn the camera on",
    OfferedAct.PLAY_FILE: "Play a video file",
    OfferedAct.TAKE_OVER: "Take over",
    OfferedAct.GO_ON: "Go on",
    OfferedAct.LOWER_STEPS: "One step less",
    OfferedAct.START_AGAIN: "Start again",
    OfferedAct.USE_TOKEN: "Use a token",
    OfferedAct.GET_PUBLISHER_LINK: "Get a publisher's link",
    OfferedAct.TRY_AGAIN: "Try again",
    OfferedAct.ALL_SESSIONS: "All sessions",
}
"""What stands on the button."""

PROGRESS: Final = {
    "camera": "Asking for the camera",
    "offer": "Asking the gateway",
    "network": "Finding a way through the network",
    "picture": "Waiting for the first picture",
}
"""How far a connection has come, in order."""

TROUBLES: Final = {
    Trouble.NO_KEY_FRAME: "The publisher has sent no key frame for 5 s. "
    "Its encoder should send one every 1 or 2 s, or when asked.",
    Trouble.NO_PARAMETER_SETS: "The publisher's H264 lacks the SPS or PPS that it refers to. "
    "Its encoder should send them with key frames.",
    Trouble.UNSUPPORTED_PROFILE: "The publisher's H264 has a profile that is not decoded here, or pictures of more "
    "than 4096 pixels a side. Choose baseline, main or high, 4:2:0, 8 bits.",
    Trouble.ENCRYPTED: "The publisher's packets cannot be decrypted with the keys of its connection. Publish anew.",
    Trouble.UNDECODABLE: "The publisher's pictures arrive and cannot be decoded. "
    "They are broken, or encrypted end to end.",
}
"""Each `media.Trouble` as a sentence that says what to do."""

ENGINES: Final = {
    "mock": "mock: a painter on this CPU, not the diffusion model",
    "diffusion": "diffusion: the model itself",
}
"""The engine that paints, in words."""

ENDS: Final = {
    "Deleted": "It was ended on purpose.",
    "Idle": "Nobody published or watched for a while.",
    "": "It is over.",
}
"""Why a session is over; any other reason is a sentence already."""

LOWERED: Final = {
    LoweredReason.BUSY: "the installation is busy",
    LoweredReason.NO_ROOM: "its worker has no room for more",
    LoweredReason.TOO_LATE: "more would come too late",
}
"""Why a session has less than it requests."""

UNTIL: Final = {
    LoweredReason.BUSY: "It gets the rest back by itself as soon as there is room.",
    LoweredReason.NO_ROOM: "It gets the rest by itself as soon as there is room.",
    LoweredReason.TOO_LATE: "More steps were measured to be later here than its frame deadline.",
}
"""When it ends."""

MOVES: Final = {
    "refused": "A worker went away: its process is gone.",
    "WorkerRestarted": "A worker went away: its process has started again.",
    "silent": "A worker does not answer in time; it may be gone, or too busy.",
    "expired": "A worker did not keep its claim in time; it may be gone, or too busy.",
    "LeaseExpired": "A worker did not keep its claim in time; it may be gone, or too busy.",
}
"""Why a session recovers: what is known, and no more than that."""
