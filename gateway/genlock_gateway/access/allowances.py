"""Who asks too often: before any route, each request pays for what it is about to cost.

A request with a valid token pays from its session's bucket, all others from that of their address. So a crowd behind
one address keeps nobody with a token from a session, and who abuses a token harms only the session that it is for.
"""

from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from genlock_core.clock import Clock
from genlock_core.errors import AccessDenied
from genlock_core.tokens import Role
from genlock_gateway.access.access import Access, bearer
from genlock_gateway.access.costs import Purpose, cost_of
from genlock_gateway.access.limits import Buckets
from genlock_gateway.access.problems import Problem, too_many
from genlock_gateway.edge.addresses import client_address
from genlock_gateway.settings import Limits

SESSION_TIMES: Final = 10
"""All who have tokens of a session may together ask so many times as often as one address."""


class Allowances:
    """The buckets of one gateway. `admit` takes what a request costs."""

    def __init__(self, access: Access, clock: Clock, limits: Limits) -> None:
        self._access = access
        self._of_addresses = {
            Purpose.LOOK: Buckets(clock, rate_per_s=limits.looks_per_s, burst=limits.look_burst),
            Purpose.CHANGE: Buckets(clock, rate_per_s=limits.requests_per_s, burst=limits.request_burst),
        }
        self._of_sessions = {
            purpose: Buckets(clock, rate_per_s=rate * SESSION_TIMES, burst=burst * SESSION_TIMES)
            for purpose, rate, burst in (
                (Purpose.LOOK, limits.looks_per_s, limits.look_burst),
                (Purpose.CHANGE, limits.requests_per_s, limits.request_burst),
            )
        }

    def admit(self, request: HTTPConnection) -> None:
        """Raises Problem (429) with the time after which to ask again."""
        cost = cost_of(request.scope["method"], request.scope["path"])
        if cost.purpose is Purpose.NOTHING:
            return

        if cost.session is not None and self._holds_token(request, cost.session):
            wait_s = self._of_sessions[cost.purpose].take(cost.session, cost.units)
            whose = f"with tokens for {cost.session}"
        else:
            wait_s = self._of_addresses[cost.purpose].take(client_address(request), cost.units)
            whose = "from this address"
        if wait_s > 0:
            raise too_many(f"too many requests {whose}", retry_after_s=wait_s)

    def _holds_token(self, request: HTTPConnection, session: str) -> bool:
        try:
            token = bearer(request)
            if token is None:
                return False
            self._access.verify(token, session, Role.VIEW)
        except AccessDenied:
            return False
        return True


class RateLimits:
    """`Allowances` in front of the routes."""

    def __init__(self, app: ASGIApp, *, allowances: Allowances) -> None:
        self._app = app
        self._allowances = allowances

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._allowances.admit(HTTPConnection(scope))
            except Problem as refused:
                await refused.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)
