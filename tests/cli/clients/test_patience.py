"""When a client that was refused asks again, and for how long."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_cli.api import GatewayProblem
from genlock_cli.clients.patience import RETRY_FOR_S, UNKNOWN_FOR_S, Patience, let_in

BEGAN_S = 100.0


def waits(refusal: GatewayProblem | TimeoutError, *, let_in_before: bool, for_s: float = RETRY_FOR_S) -> list[float]:
    """The waits of a client that is refused each time, in no time."""
    patience = Patience(began_s=BEGAN_S, let_in_before=let_in_before, for_s=for_s)
    now_s, found = BEGAN_S, list[float]()
    while (wait_s := patience.wait_s(refusal, now_s)) is not None:
        found.append(wait_s)
        now_s += wait_s
    return found


@pytest.mark.parametrize("let_in_before", [False, True])
@pytest.mark.parametrize("status", [409, 429, 503])
def test_who_is_told_when_to_ask_again_waits_for_that_long_at_any_try(status: int, let_in_before: bool) -> None:
    found = waits(GatewayProblem(status, "Later", retry_after_s=7.0), let_in_before=let_in_before)
    assert found == [7.0] * 8


@pytest.mark.parametrize(
    "refusal",
    [GatewayProblem(status, "No") for status in (0, 401, 403, 404, 409, 422, 500, 503)] + [TimeoutError()],
    ids=str,
)
def test_a_first_try_ends_where_nobody_says_that_waiting_helps(refusal: GatewayProblem | TimeoutError) -> None:
    assert waits(refusal, let_in_before=False) == []


@pytest.mark.parametrize("refusal", [GatewayProblem(0, "Away"), GatewayProblem(502, "Bad Gateway"), TimeoutError()])
def test_who_was_let_in_before_waits_for_a_gateway_that_went_away(refusal: GatewayProblem | TimeoutError) -> None:
    found = waits(refusal, let_in_before=True)
    assert found[:6] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
    assert RETRY_FOR_S - 2.0 < sum(found) <= RETRY_FOR_S


def test_a_session_that_is_unknown_now_may_come_back_for_some_seconds() -> None:
    found = waits(GatewayProblem(404, "Not Found"), let_in_before=True)
    assert UNKNOWN_FOR_S - 2.0 < sum(found) <= UNKNOWN_FOR_S


@pytest.mark.parametrize("status", [401, 403, 409, 422])
def test_a_refusal_that_says_nothing_of_later_is_final(status: int) -> None:
    assert waits(GatewayProblem(status, "No"), let_in_before=True) == []


@given(
    status=st.sampled_from([0, 404, 409, 429, 500, 503]),
    told_s=st.none() | st.floats(0.0, 1e6),
    let_in_before=st.booleans(),
    for_s=st.floats(0.0, 120.0),
)
def test_nobody_waits_beyond_its_patience_or_asks_before_it_may(
    status: int, told_s: float | None, let_in_before: bool, for_s: float
) -> None:
    found = waits(GatewayProblem(status, "No", retry_after_s=told_s), let_in_before=let_in_before, for_s=for_s)
    assert sum(found) <= for_s + 1e-6
    assert all(wait_s >= (told_s or 0.0) for wait_s in found)


async def test_each_wait_is_told_with_its_length_and_what_is_left() -> None:
    refusals = iter([GatewayProblem(503, "Full", "no worker has room", retry_after_s=0.02), TimeoutError(), None])
    told: list[str] = []

    async def connect() -> str:
        if (refusal := next(refusals)) is not None:
            raise refusal
        return "connected"

    began_s = asyncio.get_running_loop().time()
    assert await let_in(connect, Patience(began_s=began_s, let_in_before=True), tell=told.append) == "connected"
    assert told[0].startswith("no worker has room. Trying again in 0.1 s, for ")
    assert told[1].startswith("the connection did not come up in time. Trying again in 0.2 s, for ")


async def test_the_last_word_is_raised() -> None:
    async def refused() -> None:
        raise GatewayProblem(409, "Conflict", "another publisher is there", retry_after_s=3.0)

    with pytest.raises(GatewayProblem, match="another publisher is there"):
        await let_in(refused, Patience(began_s=-100.0, let_in_before=False), tell=lambda _: None)
