"""Errors as HTTP speaks them: `application/problem+json` (RFC 9457), one shape for every endpoint.

Handlers raise `Problem` or let the contract's own errors (`genlock_core.errors`) pass; `answer_problems` turns both
into responses, so that no endpoint builds an error by hand.
"""

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from genlock_core.errors import (
    AccessDenied,
    FieldProblem,
    GenlockError,
    InvalidManifest,
    NoCapacity,
    NoRoomForSteps,
    Overloaded,
    UnknownSession,
)
from genlock_core.store import StoreBusy

logger = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"
REDIS_RETRY_AFTER_S = 2.0
BUSY_RETRY_AFTER_S = 1.0


class Problem(GenlockError):
    """An answer that is an error: the status, what was wrong and what to do, and fields of its own (`extra`)."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str = "about:blank",
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.kind = kind
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})
        super().__init__(f"{status} {HTTPStatus(status).phrase}: {detail}")

    def response(self) -> JSONResponse:
        """The problem document."""
        body = {
            "type": self.kind,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.extra,
        }
        return JSONResponse(body, self.status, headers=self.headers, media_type=PROBLEM_JSON)


class WrongToken(AccessDenied):
    """A token that was given and is refused; `needed`: whether the request is refused without a token as well."""

    def __init__(self, message: str, *, needed: bool) -> None:
        self.needed = needed
        super().__init__(message, missing=False)


def unavailable(detail: str, *, retry_after_s: float, reason: str) -> Problem:
    """503 with `Retry-After` in whole seconds (RFC 9110 section 10.2.3); `reason` is a word that clients can test."""
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        detail,
        headers={"Retry-After": str(max(1, math.ceil(retry_after_s)))},
        extra={"reason": reason},
    )


def too_many(detail: str, *, retry_after_s: float) -> Problem:
    """429: a stranger asks more often than this gateway answers."""
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, headers={"Retry-After": str(max(1, math.ceil(retry_after_s)))})


def with_mistakes(status: int, detail: str, mistakes: tuple[FieldProblem, ...]) -> Problem:
    """A request with mistakes in its fields: `errors: [{path, message}]`, every one of them."""
    errors = [{"path": mistake.path, "message": mistake.message} for mistake in mistakes]
    return Problem(status, detail, extra={"errors": errors})


def mistaken(error: ValidationError, detail: str) -> Problem:
    """A JSON body that is none (400), or that has mistakes in its fields (422)."""
    found = error.errors(include_url=False, include_input=False)
    mistakes = tuple(
        FieldProblem(".".join(str(part) for part in mistake["loc"]) or "body", mistake["msg"]) for mistake in found
    )
    malformed = any(mistake["type"] == "json_invalid" for mistake in found)
    return with_mistakes(400 if malformed else 422, detail, mistakes)


def problem_of(error: Exception) -> Problem | None:
    """The problem that an error of the contract stands for; None if the error is not one of ours."""
    match error:
        case Problem():
            return error
        case AccessDenied(missing=True):
            return Problem(HTTPStatus.UNAUTHORIZED, str(error), headers={"WWW-Authenticate": 'Bearer realm="genlock"'})
        case AccessDenied():
            return Problem(
                HTTPStatus.FORBIDDEN,
                str(error),
                headers={"WWW-Authenticate": 'Bearer realm="genlock", error="insufficient_scope"'},
                extra={"reason": "wrong-token", "tokenNeeded": error.needed} if isinstance(error, WrongToken) else None,
            )
        case UnknownSession():
            return Problem(HTTPStatus.NOT_FOUND, str(error))
        case Overloaded():
            return unavailable(str(error), retry_after_s=error.retry_after_s, reason="overloaded")
        case NoCapacity():
            return unavailable(str(error), retry_after_s=error.retry_after_s, reason="no-capacity")
        case NoRoomForSteps():
            return Problem(HTTPStatus.CONFLICT, str(error), extra={"reason": "no-room"})
        case InvalidManifest():
            return with_mistakes(HTTPStatus.UNPROCESSABLE_ENTITY, str(error).splitlines()[0], error.problems)
        case StoreBusy():
            return unavailable(
                "this gateway asks the session store as much as it may for requests like this one; ask again",
                retry_after_s=BUSY_RETRY_AFTER_S,
                reason="busy",
            )
        case RedisError() | ConnectionError() | TimeoutError():
            return unavailable(
                "the session store does not answer; live sessions carry on, new ones must wait",
                retry_after_s=REDIS_RETRY_AFTER_S,
                reason="store",
            )
        case RequestValidationError():
            mistakes = tuple(
                FieldProblem(".".join(str(part) for part in mistake["loc"][1:]) or "body", mistake["msg"])
                for mistake in error.errors()
            )
            return with_mistakes(HTTPStatus.UNPROCESSABLE_ENTITY, "the request has mistakes", mistakes)
        case ClientDisconnect():
            # Nobody hears of it: the client went before its request was whole, or the edge ended it.
            return Problem(HTTPStatus.BAD_REQUEST, "the connection ended before the body did")
        case HTTPException():
            return Problem(error.status_code, error.detail, headers=error.headers)
        case _:
            return None


def answer_problems(app: FastAPI) -> None:
    """Make every error of `app` a problem document."""

    async def answer(_: Request, error: Exception) -> JSONResponse:
        problem = problem_of(error)
        if problem is None:
            logger.error("a request failed", exc_info=error)
            problem = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the gateway failed on this request; its log says why")
        return problem.response()

    for kind in (
        GenlockError,
        RedisError,
        ConnectionError,
        TimeoutError,
        RequestValidationError,
        ClientDisconnect,
        HTTPException,
        Exception,
    ):
        app.add_exception_handler(kind, answer)
