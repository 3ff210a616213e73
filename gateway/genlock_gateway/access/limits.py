"""Bounds on what a stranger may send: requests per address, bytes per body, messages per data channel.

The token bucket is pure: it is told the time. `Buckets` remembers a bounded number of them.
"""

from collections import OrderedDict
from http import HTTPStatus

from fastapi import Request

from genlock_core.clock import Clock
from genlock_gateway.access.problems import Problem

MAX_SDP_BYTES = 64 * 1024
MAX_JSON_BYTES = 256 * 1024
MAX_DISCARDED_BYTES = 8 * 1024 * 1024
"""So much of a body that is too large is read before its connection is closed."""
MAX_BUCKETS = 4_096


class TokenBucket:
    """`burst` at once, then `rate_per_s`; `take` says how long to wait (0.0: go on)."""

    __slots__ = ("_burst", "_level", "_rate_per_s", "_updated_s")

    def __init__(self, *, rate_per_s: float, burst: float, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._level = burst
        self._updated_s = now_s

    def take(self, now_s: float, units: float = 1.0) -> float:
        """Take so many tokens if they are there; else the seconds until they are.

        Whatever costs more than the burst takes a full bucket.
        """
        units = min(units, self._burst)
        self._level = min(self._burst, self._level + (now_s - self._updated_s) * self._rate_per_s)
        self._updated_s = now_s
        if self._level >= units:
            self._level -= units
            return 0.0
        return (units - self._level) / self._rate_per_s


class Buckets:
    """One bucket for each key, such as an address; the one that was quiet longest is forgotten first."""

    def __init__(self, clock: Clock, *, rate_per_s: float, burst: float) -> None:
        self._clock = clock
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, key: str, units: float = 1.0) -> float:
        """Take from the key's bucket, as `TokenBucket.take` does."""
        now_s = self._clock.monotonic()
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = TokenBucket(rate_per_s=self._rate_per_s, burst=self._burst, now_s=now_s)
            if len(self._buckets) >= MAX_BUCKETS:
                self._buckets.popitem(last=False)

        # At the end again: the first one is that which was quiet longest.
        self._buckets[key] = bucket
        return bucket.take(now_s, units)


async def read_body(request: Request, *, limit: int) -> bytes:
    """The body, never holding more than `limit` bytes of it. Raises Problem (413).

    The rest of a body that is too large is read and thrown away, within bounds: a client that is still sending when the
    connection closes would not see the answer.
    """
    declared = request.headers.get("content-length", "")
    too_large = declared.isdecimal() and int(declared) > limit
    body, size = bytearray(), 0

    if not (declared.isdecimal() and int(declared) > MAX_DISCARDED_BYTES):
        async for chunk in request.stream():
            size += len(chunk)
            too_large = too_large or size > limit
            if size > MAX_DISCARDED_BYTES:
                break
            if not too_large:
                body += chunk
        else:
            if not too_large:
                return bytes(body)

    headers = {"Connection": "close"}
    raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {limit} bytes", headers=headers)


def media_type(request: Request) -> str:
    """The request's Content-Type without its parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_media_type(request: Request, *allowed: str) -> None:
    """Raises Problem (415) unless the body is of one of these types."""
    if media_type(request) not in allowed:
        wanted = " or ".join(allowed)
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Type must be {wanted}",
            headers={"Accept-Post": ", ".join(allowed)},
        )
