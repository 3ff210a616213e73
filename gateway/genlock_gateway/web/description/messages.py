"""Schemas of what no HTTP body carries: the messages of the data channel `control`, and the server-sent events."""

from typing import Any, Final, Literal

from genlock_core.slo.report import StreamReport
from genlock_core.stream_state.control import ControlRequest
from genlock_gateway.sessions.session_view import ProblemDocument, SessionView, ViewerLinkRequest
from genlock_gateway.web.description.operations import Json, ref


class ControlMessage(ControlRequest):
    """A change to the picture, over the data channel."""

    type: Literal["control"]


MODELS: Final = (
    (SessionView, "serialization"),
    (StreamReport, "serialization"),
    (ProblemDocument, "serialization"),
    (ControlRequest, "validation"),
    (ControlMessage, "validation"),
    (ViewerLinkRequest, "validation"),
)
"""The models that the tables name, and whether they are said or taken."""

_NUMBER: Final[Json] = {"type": "number", "description": "The number that the client gave its message."}


def _message(kind: str, about: str, required: tuple[str, ...] = (), **fields: Json) -> Json:
    return {
        "type": "object",
        "description": about,
        "required": ["type", *required],
        "properties": {"type": {"const": kind}, **fields},
    }


def _typed(kind: str, about: str, schema: str) -> Json:
    """What the API shows, as a message."""
    typed = {"type": "object", "required": ["type"], "properties": {"type": {"const": kind}}}
    return {"description": about, "allOf": [ref(schema), typed]}


SCHEMAS: Final[dict[str, Json]] = {
    "PingMessage": _message("ping", "Asks for a pong.", sentAt={"type": "number", "description": "Comes back."}),
    "PongMessage": _message("pong", "The answer to a ping.", sentAt={"type": "number"}),
    "AckMessage": _message(
        "ack",
        "A change is stored.",
        ("id",),
        number=_NUMBER,
        id={"type": "string", "description": "Its id."},
        level=ref("LevelView"),
    ),
    "ErrorMessage": _message(
        "error", "A message that did nothing, and why.", ("detail",), number=_NUMBER, detail={"type": "string"}
    ),
    "StateMessage": _typed("state", "How the session is; on each change.", "SessionView"),
    "StatsMessage": _typed("stats", "Live figures; twice a second.", "StreamReport"),
    "ReconnectMessage": _message(
        "reconnect", "This connection ends soon: make another.", ("afterMs",), afterMs={"type": "integer", "minimum": 0}
    ),
    "ReplacedMessage": _message(
        "replaced", "Another publisher has the session.", ("reason",), reason={"type": "string"}
    ),
    "ReconnectEvent": {
        "type": "object",
        "description": "This gateway goes: connect anew.",
        "required": ["afterMs"],
        "properties": {"afterMs": {"type": "integer", "minimum": 0}},
    },
    "ViewerCountEvent": {
        "type": "object",
        "description": "How many watch at this gateway.",
        "required": ["viewercount"],
        "properties": {"viewercount": {"type": "integer", "minimum": 0}},
    },
    "EmptyEvent": {"type": "object", "description": "Its name says all.", "maxProperties": 0},
    "ClientMessage": {
        "description": "What a client may send over the data channel, as JSON text.",
        "oneOf": [ref("ControlMessage"), ref("PingMessage")],
    },
    "GatewayMessage": {
        "description": "What a gateway sends over the data channel, as JSON text.",
        "oneOf": [
            ref(name)
            for name in (
                "AckMessage", "ErrorMessage", "PongMessage", "StateMessage", "StatsMessage", "ReconnectMessage",
                "ReplacedMessage",
            )
        ],
    },
}  # fmt: skip

EVENT_SCHEMAS: Final[dict[str, dict[str, Json]]] = {
    "session": {"state": ref("SessionView"), "stats": ref("StreamReport"), "reconnect": ref("ReconnectEvent")},
    "viewer": {
        "active": ref("EmptyEvent"),
        "inactive": ref("EmptyEvent"),
        "reconnect": ref("ReconnectEvent"),
        "viewercount": ref("ViewerCountEvent"),
    },
}
"""The data of each named event of a stream."""

DATA_CHANNEL: Final[dict[str, Any]] = {
    "label": "control",
    "description": "A client may open a data channel of this label before its offer. Each message is one JSON text.",
    "clientSends": ref("ClientMessage"),
    "gatewaySends": ref("GatewayMessage"),
}
