"""Who may be connected, for how long, and who gives way: the table alone, without a socket."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.process.address_groups import group_of
from genlock_gateway.edge.connections import Bounds, Connection, ConnectionPhase, Connections, Why

BOUNDS = Bounds(
    connections=6, per_address=4, new_per_address=2, grace_s=1.0, request_s=10.0, idle_s=5.0, stalled_s=30.0
)
US = "192.0.2.1"
THEM = "198.51.100.1"
OTHERS = ("198.51.100.2", "198.51.100.3", "198.51.100.4", "2001:db8::1")


def opened(
    table: Connections, peer: str, phase: ConnectionPhase = ConnectionPhase.NEW, now_s: float = 0.0
) -> Connection:
    """A connection for which nobody had to go."""
    connection, ending = table.open(peer, now_s)
    assert isinstance(connection, Connection)
    assert not ending
    table.enter(connection, phase, now_s)
    return connection


def test_the_oldest_that_asks_nothing_gives_way_to_the_next_of_its_address() -> None:
    table = Connections(BOUNDS)
    silent = [opened(table, US) for _ in range(2)]
    asked = opened(Connections(BOUNDS), US)
    for number in range(10):
        newest, ending = table.open(US, 2.0 + number)
        assert isinstance(newest, Connection)
        assert ending is silent.pop(0)
        silent.append(newest)
    assert asked.is_open


def test_several_at_once_are_no_attack() -> None:
    """The bound on new ones is for those that had their time."""
    table = Connections(BOUNDS)
    for _ in range(4):
        opened(table, US, now_s=0.5)


def test_an_address_has_its_own_bound_and_its_worst_gives_way() -> None:
    table = Connections(replace(BOUNDS, new_per_address=9))
    stream = opened(table, US, ConnectionPhase.ANSWERING)
    idle = opened(table, US, ConnectionPhase.IDLE)
    new = opened(table, US)
    other = opened(table, US, ConnectionPhase.READING)
    for expected in (new, None, idle, other):
        newest, ending = table.open(US, 1.0)
        assert isinstance(newest, Connection)
        if expected is not None:
            assert ending is expected
        table.enter(newest, ConnectionPhase.ANSWERING, 1.0)
        if expected is new:
            table.close(newest)
    assert table.open(US, 1.0) == (Why.ADDRESS_FULL, None)
    assert stream.is_open
    assert isinstance(table.open(THEM, 1.0)[0], Connection)


def test_a_whole_ipv6_network_is_one_address() -> None:
    table = Connections(BOUNDS)
    for number in range(4):
        opened(table, f"2001:db8::{number}", ConnectionPhase.ANSWERING)
    assert table.open("2001:db8::99", 0.0)[0] is Why.ADDRESS_FULL
    assert isinstance(table.open("2001:db8:0:1::", 0.0)[0], Connection)


def test_where_all_is_full_the_address_with_the_most_gives_way() -> None:
    table = Connections(BOUNDS)
    theirs = [opened(table, THEM, ConnectionPhase.IDLE) for _ in range(4)]
    opened(table, US, ConnectionPhase.IDLE)
    opened(table, OTHERS[0], ConnectionPhase.IDLE)
    _, ending = table.open(US, 1.0)
    assert ending is theirs[0]


def test_a_stream_gives_way_only_to_an_address_that_has_fewer() -> None:
    table = Connections(BOUNDS)
    theirs = [opened(table, THEM, ConnectionPhase.ANSWERING) for _ in range(4)]
    for _ in range(2):
        opened(table, OTHERS[0], ConnectionPhase.ANSWERING)
    ours, ending = table.open(US, 1.0)
    assert ending is theirs[0]
    assert isinstance(ours, Connection)
    table.enter(ours, ConnectionPhase.ANSWERING, 1.0)

    # Three, two and one: nobody is better off than by one more than the newcomer would be, but for the first.
    assert table.open(OTHERS[0], 1.0) == (Why.FULL, None)


def test_who_showed_a_token_gives_way_to_nobody_while_it_is_answered() -> None:
    table = Connections(BOUNDS)
    viewers = [opened(table, peer, ConnectionPhase.ANSWERING) for peer in (US, US, US, *OTHERS[:3])]
    for viewer in viewers:
        table.vouch(viewer)
    assert table.open(THEM, 1.0) == (Why.FULL, None)
    assert table.give_way() is None


def test_a_token_is_worth_more_than_a_strangers_request() -> None:
    table = Connections(BOUNDS)
    idle = opened(table, US, ConnectionPhase.IDLE)
    table.vouch(idle)
    strangers = [opened(table, peer, ConnectionPhase.STALLED) for peer in OTHERS]
    assert {table.give_way() for _ in strangers} == set(strangers)
    assert idle.is_open


def test_a_named_proxy_has_all_the_room_there_is_and_gives_way_when_it_is_idle() -> None:
    table = Connections(BOUNDS)
    proxied = [table.open(US, 0.0, named_proxy=True)[0] for _ in range(6)]
    assert all(isinstance(one, Connection) for one in proxied)
    assert table.of_group(US) == 0
    newest, ending = table.open(THEM, 0.0)
    assert isinstance(newest, Connection)
    assert ending is proxied[0]


@pytest.mark.parametrize(
    ("phase", "allowed_s", "why"),
    [
        (ConnectionPhase.NEW, 10.0, Why.LATE),
        (ConnectionPhase.READING, 10.0, Why.LATE),
        (ConnectionPhase.IDLE, 5.0, Why.IDLE),
        (ConnectionPhase.STALLED, 30.0, Why.STALLED),
        (ConnectionPhase.ANSWERING, None, None),
    ],
)
def test_each_phase_has_its_time_however_often_it_is_told_of(
    phase: ConnectionPhase, allowed_s: float | None, why: Why | None
) -> None:
    table = Connections(BOUNDS)
    connection = opened(table, US, phase)
    for now_s in (1.0, 4.0, 9.0, 29.0):
        table.enter(connection, phase, now_s)
    if allowed_s is None:
        assert table.late(1e9) == []
    else:
        assert table.late(allowed_s - 0.01) == []
        assert table.late(allowed_s) == [(connection, why)]


PEERS = (US, THEM, *OTHERS)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.sampled_from(PEERS), st.booleans()),
        st.tuples(st.just("enter"), st.integers(0, 9), st.sampled_from(ConnectionPhase)),
        st.tuples(st.just("vouch"), st.integers(0, 9), st.none()),
        st.tuples(st.just("close"), st.integers(0, 9), st.none()),
        st.tuples(st.just("give way"), st.none(), st.none()),
        st.tuples(st.just("pass"), st.none(), st.floats(0.0, 6.0)),
    ),
    max_size=80,
)


def rank(connection: Connection) -> tuple[bool, ConnectionPhase]:
    return connection.vouched, connection.phase


def may_go(gone: Connection, before: Sequence[Connection], newcomer: str, now_s: float) -> bool:
    """Whether there was a reason to end it for a newcomer of that address."""
    own = [one for one in before if one.counted and one.group == newcomer]
    new = [one for one in own if rank(one) == (False, ConnectionPhase.NEW)]
    had_its_time = now_s - gone.since_s >= BOUNDS.grace_s
    if gone in new and gone is new[0] and len(new) >= BOUNDS.new_per_address and had_its_time:
        return True
    if len(own) == BOUNDS.per_address:
        return gone in own and rank(gone) == min(map(rank, own))

    free = [one for one in before if one.phase is not ConnectionPhase.ANSWERING]
    candidates = free or [one for one in before if not one.vouched]
    worst = [one.group for one in candidates if rank(one) == min(map(rank, candidates))]
    largest = max(map(worst.count, worst))
    fair = (
        bool(free)
        or largest
        > sum(rank(one) == (False, ConnectionPhase.ANSWERING) and one.group == newcomer for one in before) + 1
    )
    least = rank(gone) == min(map(rank, candidates)) and worst.count(gone.group) == largest
    return len(before) == BOUNDS.connections and least and fair


@given(STEPS)
def test_whatever_happens_the_bounds_hold_and_nobody_goes_without_need(steps: list[tuple[str, object, object]]) -> None:
    """Against a list of the same connections, looked through by hand."""
    table, now_s = Connections(BOUNDS), 0.0
    there: list[Connection] = []
    for step, what, how in steps:
        if step == "open":
            assert isinstance(what, str)
            before = tuple(there)
            newest, gone = table.open(what, now_s, named_proxy=what == THEM and bool(how))
            if gone is not None:
                assert may_go(gone, before, group_of(what), now_s)
                there.remove(gone)
            if isinstance(newest, Connection):
                there.append(newest)
            elif newest is Why.FULL:
                assert all(one.phase is ConnectionPhase.ANSWERING for one in before)
            else:
                own = [one for one in before if one.counted and one.group == group_of(what)]
                assert len(own) == BOUNDS.per_address
                assert all(one.phase is ConnectionPhase.ANSWERING for one in own)
        elif step == "enter" and there:
            assert isinstance(what, int)
            assert isinstance(how, ConnectionPhase)
            table.enter(there[what % len(there)], how, now_s)
        elif step == "vouch" and there:
            assert isinstance(what, int)
            table.vouch(there[what % len(there)])
        elif step == "close" and there:
            assert isinstance(what, int)
            gone = there.pop(what % len(there))
            table.close(gone)
            table.close(gone)
        elif step == "give way":
            free = [one for one in there if one.phase is not ConnectionPhase.ANSWERING]
            least = table.give_way()
            assert (least is None) == (not free)
            if least is not None:
                same = [one for one in free if rank(one) == min(map(rank, free))]
                sizes = [sum(other.group == one.group for other in same) for one in same]
                assert least in same
                assert sizes[same.index(least)] == max(sizes)
                there.remove(least)
        elif step == "pass":
            assert isinstance(how, float)
            now_s += how

        assert len(table) == len(there) <= BOUNDS.connections
        assert all(one.is_open for one in there)
        for peer in {one.group for one in there}:
            counted = sum(one.counted and one.group == peer for one in there)
            assert table.of_group(peer) == counted <= BOUNDS.per_address

        allowed = {
            ConnectionPhase.NEW: 10.0,
            ConnectionPhase.READING: 10.0,
            ConnectionPhase.IDLE: 5.0,
            ConnectionPhase.STALLED: 30.0,
        }
        late = {one for one in there if one.phase in allowed and now_s - one.since_s >= allowed[one.phase]}
        assert {one for one, _ in table.late(now_s)} == late
