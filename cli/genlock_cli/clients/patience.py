"""How long a client asks again after it was refused: one rule for the first try and for every later one.

A gateway that says when to ask again (`Retry-After`: another publisher is there, no worker has room, one asks too
often, it drains) is asked again then. What it says nothing of ends a first try: a name may be wrong, or nobody serves
there. Who was let in before knows better, and waits for a gateway that went away.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar

from genlock_cli.api import GatewayProblem

T = TypeVar("T")

RETRY_FOR_S: Final = 60.0
UNKNOWN_FOR_S: Final = 15.0
"""A session that one was let into a moment ago and is unknown now: Redis lost its data, and gets the record back."""
FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 2.0
"""Of the waits that double; one that the gateway asks for may be longer."""


@dataclass(slots=True)
class Patience:
    """Of one client that wants in; asked for the next wait after each refusal. Times are seconds of one clock."""

    began_s: float

    let_in_before: bool

    for_s: float = RETRY_FOR_S
    """It never waits beyond this, from `began_s`."""

    _wait_s: float = FIRST_WAIT_S

    def wait_s(self, refusal: GatewayProblem | TimeoutError, now_s: float) -> float | None:
        """How long to wait before the next try; None: this refusal is the last word."""
        told_s = refusal.retry_after_s if isinstance(refusal, GatewayProblem) else None
        wait_s = max(self._wait_s, told_s or 0.0)
        self._wait_s = min(LONGEST_WAIT_S, self._wait_s * 2)
        return wait_s if now_s + wait_s <= self.began_s + self._patient_for_s(refusal, told_s) else None

    def left_s(self, now_s: float) -> float:
        """How much longer it asks at most."""
        return max(0.0, self.began_s + self.for_s - now_s)

    def _patient_for_s(self, refusal: GatewayProblem | TimeoutError, told_s: float | None) -> float:
        if told_s is not None:
            return self.for_s
        if not self.let_in_before:
            return 0.0

        status = refusal.status if isinstance(refusal, GatewayProblem) else 0
        if status == HTTPStatus.NOT_FOUND:
            return min(self.for_s, UNKNOWN_FOR_S)
        return 0.0 if 400 <= status < 500 else self.for_s


async def let_in(connect: Callable[[], Awaitable[T]], patience: Patience, *, tell: Callable[[str], object]) -> T:
    """Connect, and again for as long as there is patience; `tell` gets a sentence before each wait.

    Raises GatewayProblem, TimeoutError: the refusal that was the last word.
    """
    clock = asyncio.get_running_loop()
    while True:
        try:
            return await connect()
        except (GatewayProblem, TimeoutError) as refusal:
            wait_s = patience.wait_s(refusal, clock.time())
            if wait_s is None:
                raise

            tell(_sentence(refusal, wait_s, patience.left_s(clock.time())))
            await asyncio.sleep(wait_s)


def _sentence(refusal: GatewayProblem | TimeoutError, wait_s: float, left_s: float) -> str:
    what = str(refusal) or "the connection did not come up in time"
    return f"{what}. Trying again in {wait_s:.3g} s, for {left_s:.0f} s at most"
