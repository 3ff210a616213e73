"""The table of operations. A route without a row here, and a row without a route, fail a test; so does an answer of any
gateway in the tests that its row does not name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from genlock_gateway.access.access import PUBLISHER_HEADER
from genlock_gateway.sessions.audience import Kind
from genlock_gateway.web.api import MANIFEST_TYPES
from genlock_gateway.web.signalling.offers import ROLES, SDP
from genlock_gateway.web.signalling.session_urls import TRICKLE
from genlock_gateway.web.signalling.whep import EVENTS

Json = dict[str, Any]

EVENT_STREAM: Final = "text/event-stream"
TEXT: Final[Json] = {"type": "string"}

STORE: Final = 503


def ref(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}


class Token(StrEnum):
    """When an operation that takes a token needs one."""

    ALWAYS = "always"
    UNLESS_PUBLIC = "unless-public"
    """Not where the session's access says Public."""
    OPTIONAL = "optional"
    """Never; but one that is given must be right."""


@dataclass(frozen=True, slots=True)
class Success:
    """A success."""

    about: str
    content: Mapping[str, Json] = field(default_factory=dict)
    """By media type. Left out: as the route's model says."""
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """What a program has to know of one method of one path."""

    name: str
    role: str
    """What a token must allow: publish, view or admin; "" where none is taken."""
    answers: Mapping[int, Success]
    problems: tuple[int, ...] = ()
    body: Mapping[str, Json] = field(default_factory=dict)
    """By media type."""
    body_required: bool = True
    headers: tuple[str, ...] = ()
    """That a client may send."""
    token: Token = Token.UNLESS_PUBLIC


_OFFER: Final = (400, 401, 403, 404, 410, 413, 415, 422, 429, 503)
_SESSION: Final = "/api/v1/sessions/{namespace}/{name}"


def operations() -> Mapping[tuple[str, str], Operation]:
    """By method and path template."""
    return {
        **dict(_signalling("whip")),
        **dict(_signalling("whep")),
        **_whep_events(),
        **_sessions(),
        **_pools(),
        **_health(),
    }


def _signalling(kind: Kind) -> Iterator[tuple[tuple[str, str], Operation]]:
    role, endpoint = ROLES[kind].value, f"/{kind}/{{namespace}}/{{name}}"
    session = f"{endpoint}/{{host}}/{{resource}}"
    verb = "publish" if kind == "whip" else "view"

    yield (
        ("POST", endpoint),
        Operation(
            verb,
            role,
            {
                201: Success(
                    "The answer; the connection may begin.", {SDP: TEXT}, ("Location", "ETag", "Link", "Accept-Patch")
                )
            },
            (*_OFFER, 409) if kind == "whip" else _OFFER,
            body={SDP: TEXT},
            headers=(PUBLISHER_HEADER,) if kind == "whip" else (),
        ),
    )

    def looks(
        method: str, path: str, status: int, *, headers: tuple[str, ...] = (), token: Token = Token.UNLESS_PUBLIC
    ) -> tuple[tuple[str, str], Operation]:
        """GET, HEAD and OPTIONS: whether it is there, and what may be sent."""
        name = f"{kind}{'Endpoint' if path == endpoint else 'Session'}{'' if method == 'GET' else method.capitalize()}"
        about = "What may be sent." if method == "OPTIONS" else "It is there."
        problems = (401, 403) if method == "OPTIONS" else (401, 403, 404, 429, STORE)
        answers = {status: Success(about, headers=headers)}
        return (method, path), Operation(name, role, answers, problems, token=token)

    yield looks("GET", endpoint, 204, headers=("Accept-Post",), token=Token.OPTIONAL)
    yield looks("HEAD", endpoint, 200, headers=("Accept-Post",), token=Token.OPTIONAL)
    yield looks("OPTIONS", endpoint, 200, headers=("Allow", "Accept-Post"), token=Token.OPTIONAL)
    yield looks("GET", session, 204)
    yield looks("HEAD", session, 204)
    yield looks("OPTIONS", session, 200, headers=("Allow", "Accept-Patch"), token=Token.OPTIONAL)
    yield (
        ("PATCH", session),
        Operation(
            f"{kind}Trickle",
            role,
            {
                200: Success("An ICE restart: the new credentials and candidates.", {TRICKLE: TEXT}, ("ETag",)),
                204: Success("The candidates are taken."),
            },
            (400, 401, 403, 404, 412, 413, 415, 422, 429, STORE),
            body={TRICKLE: TEXT},
            body_required=False,
            headers=("If-Match",),
        ),
    )
    gone = {200: Success("It has ended.")}
    yield ("DELETE", session), Operation(f"{kind}End", role, gone, (401, 403, 404, 413, 429, STORE))


def _whep_events() -> Mapping[tuple[str, str], Operation]:
    url = "/whep/{namespace}/{name}/{host}/{resource}/events"
    wanted = {"type": "array", "items": {"type": "string", "enum": list(EVENTS)}, "minItems": 1}
    return {
        ("POST", url): Operation(
            "chooseViewerEvents",
            "view",
            {201: Success("The URL of these events.", headers=("Location",))},
            (400, 401, 403, 404, 413, 415, 422, 429, STORE),
            body={"application/json": wanted},
        ),
        ("GET", url): Operation(
            "viewerEvents",
            "view",
            {200: Success("The events, until either side goes.", {EVENT_STREAM: {**TEXT, "x-events": "viewer"}})},
            (401, 403, 404, 429, STORE),
        ),
    }


def _sessions() -> Mapping[tuple[str, str], Operation]:
    manifest = {"type": "object", "description": "StreamSessions, each as docs/streamsession.md has it."}
    jpeg = {"type": "string", "format": "binary"}
    sessions = {"type": "array", "items": ref("SessionView")}
    return {
        ("GET", "/api/v1/sessions"): Operation(
            "listSessions", "view", {200: Success("Those that the caller may watch.")}, (401, 403, 429, STORE)
        ),
        ("POST", "/api/v1/sessions"): Operation(
            "createSessions",
            "admin",
            {
                200: Success("They were there, and are as the manifest has them.", {"application/json": sessions}),
                201: Success("At least one of them is new."),
            },
            (400, 401, 403, 413, 415, 422, 429, STORE),
            body={**dict.fromkeys(MANIFEST_TYPES, TEXT), "application/json": manifest},
            token=Token.ALWAYS,
        ),
        ("GET", _SESSION): Operation("showSession", "view", {200: Success("It.")}, (401, 403, 404, 429, STORE)),
        ("DELETE", _SESSION): Operation(
            "endSession", "admin", {204: Success("It ends.")}, (401, 403, 404, 429, STORE), token=Token.ALWAYS
        ),
        ("GET", f"{_SESSION}/events"): Operation(
            "sessionEvents",
            "view",
            {200: Success("The events, until either side goes.", {EVENT_STREAM: {**TEXT, "x-events": "session"}})},
            (401, 403, 404, 429, STORE),
        ),
        ("PATCH", f"{_SESSION}/control"): Operation(
            "control",
            "publish",
            {202: Success("The worker is told; the picture follows.")},
            (400, 401, 403, 404, 409, 410, 413, 415, 422, 429, STORE),
            body=dict.fromkeys(("application/json", "application/merge-patch+json"), ref("ControlRequest")),
        ),
        ("POST", f"{_SESSION}/start"): Operation(
            "startSessionAgain",
            "publish",
            {200: Success("It, as it runs now.")},
            (401, 403, 404, 422, 429, STORE),
        ),
        ("POST", f"{_SESSION}/move"): Operation(
            "moveSession",
            "admin",
            {200: Success("Where it is now.")},
            (401, 403, 404, 409, 410, 429, STORE),
            token=Token.ALWAYS,
        ),
        ("GET", f"{_SESSION}/preview.jpg"): Operation(
            "preview",
            "view",
            {200: Success("What it shows now.", {"image/jpeg": jpeg})},
            (401, 403, 404, 410, 429, STORE),
        ),
        ("POST", f"{_SESSION}/viewer-links"): Operation(
            "makeViewerLink",
            "publish",
            {201: Success("What to give to a viewer.")},
            (400, 401, 403, 404, 410, 413, 415, 422, 429, STORE),
            body={"application/json": ref("ViewerLinkRequest")},
            body_required=False,
        ),
    }


def _pools() -> Mapping[tuple[str, str], Operation]:
    about = "Those that have workers."
    return {
        ("GET", "/api/v1/pools"): Operation(
            "listPools", "admin", {200: Success(about)}, (401, 403, 429, STORE), token=Token.ALWAYS
        ),
        ("GET", "/api/v1/pools/{pool}"): Operation(
            "showPool", "admin", {200: Success("It.")}, (401, 403, 404, 429, STORE), token=Token.ALWAYS
        ),
    }


def _health() -> Mapping[tuple[str, str], Operation]:
    plain = {"text/plain": TEXT}
    stuck, not_ready = Success("What is stuck.", plain), Success("Why not.", plain)
    return {
        ("GET", "/healthz"): Operation("alive", "", {200: Success("It is.", plain), 503: stuck}),
        ("GET", "/readyz"): Operation("ready", "", {200: Success("It is.", plain), 503: not_ready}),
        ("GET", "/metrics"): Operation("metrics", "", {200: Success("Prometheus' text format.", plain)}, (429,)),
    }
