"""Three times what came, until it is proven that the address wants it."""

from hypothesis import given
from hypothesis import strategies as st

from genlock_gateway.rtc.transport.demultiplexer import Route
from genlock_gateway.rtc.transport.send_budget import MAX_ROUTES, TIMES, SendBudget


def route(number: int) -> Route:
    return Route(0, ("192.0.2.1", number))


HERE, THERE = route(1), route(2)


def test_nothing_goes_where_nothing_came_from() -> None:
    budget = SendBudget(lambda: HERE)
    assert not budget.take(HERE, 1)
    budget.heard(HERE, 10)
    assert not budget.take(THERE, 1)
    assert budget.take(HERE, 30)
    assert not budget.take(HERE, 1)


def test_the_proof_frees_the_nominated_way_and_no_other() -> None:
    nominated = [HERE]
    budget = SendBudget(lambda: nominated[0])
    budget.prove()
    assert budget.take(HERE, 10**9)
    assert not budget.take(THERE, 1)
    nominated[0] = THERE
    assert budget.take(THERE, 10**9)
    assert not budget.take(HERE, 1)


def test_the_addresses_that_are_remembered_are_bounded() -> None:
    budget = SendBudget(lambda: None)
    for number in range(MAX_ROUTES + 5):
        budget.heard(route(number), 1)
    assert not budget.take(route(0), 1)
    assert budget.take(route(MAX_ROUTES), 3)


STEPS = st.lists(st.tuples(st.booleans(), st.integers(1, 5), st.integers(1, 1_500)), max_size=200)


@given(STEPS)
def test_no_address_ever_gets_more_than_three_times_its_bytes(steps: list[tuple[bool, int, int]]) -> None:
    budget = SendBudget(lambda: None)
    heard, sent = dict.fromkeys(range(6), 0), dict.fromkeys(range(6), 0)
    for comes, number, size in steps:
        if comes:
            budget.heard(route(number), size)
            heard[number] += size
        elif budget.take(route(number), size):
            sent[number] += size
        else:
            assert sent[number] + size > TIMES * heard[number], "what may go is not held back"
        assert sent[number] <= TIMES * heard[number]
