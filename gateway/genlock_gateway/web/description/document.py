"""The OpenAPI document: what the framework derives from the routes, completed by the tables beside this module."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from genlock_core.spec.session import DNS_LABEL
from genlock_gateway.access.access import PUBLISHER_HEADER
from genlock_gateway.access.problems import PROBLEM_JSON
from genlock_gateway.web.description.messages import DATA_CHANNEL, EVENT_SCHEMAS, MODELS, SCHEMAS
from genlock_gateway.web.description.operations import Json, Operation, Success, Token, operations, ref

ABOUT: Final = """\
WHIP in, WHEP out, and the sessions between them.

A token goes into `Authorization: Bearer ...`; `genlock session token` makes one. No token is needed where a session's
access says Public, but one that is given must be right.

Every error is a problem document (RFC 9457). Beside the codes that stand at an operation, any path answers 405 to a
method that it does not have, and 500 when the gateway fails.

A client of WHIP or WHEP may open a data channel with the label `control`; its messages are the schemas ClientMessage
and GatewayMessage."""

TAGS: Final = (
    {"name": "WHIP", "description": "Publish: WebRTC-HTTP Ingestion Protocol (RFC 9725)."},
    {"name": "WHEP", "description": "View: WebRTC-HTTP Egress Protocol (draft-ietf-wish-whep-04)."},
    {"name": "sessions", "description": "Sessions: what there is, and how it is steered."},
    {"name": "pools", "description": "Pools of workers: how they stand, and why."},
    {"name": "health", "description": "What probes and Prometheus ask."},
)
PROBLEMS: Final = {
    400: "It cannot be read.",
    401: "A token is needed.",
    403: "The token is refused, or it does not allow this.",
    404: "There is no such session, or no such pool.",
    409: "Somebody else is in the way.",
    410: "The session has ended.",
    412: "If-Match names another state of the session than it is in.",
    413: "The body is too large.",
    415: "The body is of another media type.",
    422: "It can be read, and asks for what is not possible; `errors` names each field.",
    429: "Too many requests from this address.",
    503: "Not now: no capacity, a gateway that goes, or Redis away; `reason` says which.",
}
_PROBLEM_HEADERS: Final = {401: "WWW-Authenticate", 403: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}
PATH: Final[dict[str, Json]] = {
    "namespace": {"description": "The session's namespace.", "schema": {"type": "string", "pattern": DNS_LABEL}},
    "name": {"description": "The session's name.", "schema": {"type": "string", "pattern": DNS_LABEL}},
    "pool": {"description": "The pool's name; on a cluster namespace/name.", "schema": {"type": "string"}},
    "host": {"description": "The gateway that let the client in.", "schema": {"type": "string"}},
    "resource": {"description": "The client's unguessable name there.", "schema": {"type": "string"}},
}
REQUEST_HEADERS: Final[dict[str, Json]] = {
    PUBLISHER_HEADER: {
        "description": "Who the publisher is, in a name of its own choice: the same one may take its session over.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    },
    "If-Match": {
        "description": "The ETag of the 201; `*` for an ICE restart.",
        "schema": {"type": "string"},
    },
}
HEADERS: Final[dict[str, Json]] = {
    "Location": {
        "description": "The URL to send PATCH and DELETE to, or to listen at.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "ETag": {"description": "The state of ICE, for If-Match.", "schema": {"type": "string"}},
    "Link": {"description": "STUN and TURN servers (rel ice-server), and extensions.", "schema": {"type": "string"}},
    "Allow": {"description": "The methods.", "schema": {"type": "string"}},
    "Accept-Post": {"description": "What a POST may carry.", "schema": {"type": "string"}},
    "Accept-Patch": {"description": "What a PATCH may carry.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}},
    "WWW-Authenticate": {"description": "Bearer.", "schema": {"type": "string"}},
}


class DescribedApp(FastAPI):
    """An application whose `/openapi.json` is whole."""

    def openapi(self) -> Json:
        if self.openapi_schema is None:
            self.openapi_schema = document(self)
        return self.openapi_schema


def document(app: FastAPI) -> Json:
    """The document. Raises KeyError for an operation without a row in the table."""
    made: Json = get_openapi(
        title="Genlock gateway",
        version=version("genlock"),
        description=ABOUT,
        routes=app.routes,
        tags=[dict(tag) for tag in TAGS],
    )
    table = operations()
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            _complete(operation, path, table[method.upper(), path])

    components: Json = made["components"]
    _, said = models_json_schema(list(MODELS), ref_template="#/components/schemas/{model}")
    schemas = {**components["schemas"], **said["$defs"], **SCHEMAS}
    components["schemas"] = {name: _plain(schema) for name, schema in sorted(schemas.items())}
    # The framework's own errors, which this gateway never sends.
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    components["headers"] = HEADERS
    components["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "gl1..., gl2... or a JWT of the platform",
            "description": "A token for one session and a role (publish implies view), or an admin token for all.",
        }
    }
    made["x-data-channel"] = DATA_CHANNEL
    return made


def _plain(schema: Any) -> Any:
    """Without what only an API server of Kubernetes reads."""
    match schema:
        case dict():
            return {name: _plain(inner) for name, inner in schema.items() if not name.startswith("x-kubernetes-")}
        case list():
            return [_plain(inner) for inner in schema]
        case _:
            return schema


def _complete(operation: Json, path: str, row: Operation) -> None:
    operation["operationId"] = row.name
    # The docstring: its first paragraph says what the operation does.
    summary, _, rest = operation.pop("description", "").partition("\n\n")
    operation["summary"] = " ".join(summary.split()).removesuffix(".")
    if rest:
        operation["description"] = rest
    operation["security"] = _security(row)
    if row.role:
        operation["x-role"] = row.role
        operation["x-token"] = row.token.value

    others = [one for one in operation.get("parameters", []) if one["in"] != "path"]
    named = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    operation["parameters"] = [
        *({"name": name, "in": "path", "required": True, **PATH[name]} for name in named),
        *({"name": name, "in": "header", "required": False, **REQUEST_HEADERS[name]} for name in row.headers),
        *others,
    ]
    if not operation["parameters"]:
        del operation["parameters"]

    if row.body:
        operation["requestBody"] = {"required": row.body_required, "content": _content(row.body)}
    derived: Json = operation["responses"]
    operation["responses"] = {
        **{str(status): _success(answer, derived.get(str(status), {})) for status, answer in row.answers.items()},
        **{str(status): _problem(status) for status in sorted(row.problems)},
    }


def _security(row: Operation) -> list[Json]:
    """Either of these is enough; an empty one is no token at all."""
    if not row.role:
        return []
    needed: list[Json] = [{"token": []}]
    return needed if row.token is Token.ALWAYS else [*needed, {}]


def _success(answer: Success, derived: Json) -> Json:
    content = _content(answer.content) or derived.get("content")
    made: Json = {"description": answer.about}
    if content and any("schema" in one and one["schema"] for one in content.values()):
        made["content"] = content
    if answer.headers:
        made["headers"] = _headers(answer.headers)
    return made


def _content(by_type: Any) -> Json:
    made: Json = {}
    for media_type, schema in by_type.items():
        plain = {name: value for name, value in schema.items() if name != "x-events"}
        made[media_type] = {"schema": plain}
        if "x-events" in schema:
            made[media_type]["x-events"] = EVENT_SCHEMAS[schema["x-events"]]
    return made


def _problem(status: int) -> Json:
    made: Json = {"description": PROBLEMS[status], "content": {PROBLEM_JSON: {"schema": ref("ProblemDocument")}}}
    if status in _PROBLEM_HEADERS:
        made["headers"] = _headers((_PROBLEM_HEADERS[status],))
    return made


def _headers(names: Sequence[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
