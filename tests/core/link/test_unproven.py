"""Who has to go when places are short."""

from hypothesis import given
from hypothesis import strategies as st

from genlock_core.link import unproven
from genlock_core.link.unproven import UnprovenPlaces

Places = UnprovenPlaces[str]


def places(*, total: int = 4, per_address: int = 3, greeted: set[str] | None = None) -> Places:
    said = set() if greeted is None else greeted
    return UnprovenPlaces(places=total, per_address=per_address, greeted=lambda connection: connection in said)


def test_an_address_that_has_its_share_loses_its_oldest() -> None:
    room = places(total=10, per_address=2)
    assert [room.enter(name, "a") for name in ("a1", "a2", "a3", "a4")] == [None, None, "a1", "a2"]
    assert room.enter("b1", "b") is None


def test_when_all_places_are_taken_the_address_with_the_most_gives_one() -> None:
    room = places()
    for name in ("b1", "a1", "a2", "c1"):
        assert room.enter(name, name[0]) is None
    assert room.enter("d1", "d") == "a1"


def test_who_has_said_hello_stays_longer_than_who_is_silent() -> None:
    greeted = {"a1"}
    room = places(total=10, per_address=2, greeted=greeted)
    room.enter("a1", "a")
    room.enter("a2", "a")
    assert room.enter("a3", "a") == "a2"
    greeted.add("a3")
    assert room.enter("a4", "a") == "a4", "of three at one address the silent one goes, though it is the newest"


def test_an_address_of_proven_peers_loses_nothing_to_strangers() -> None:
    room = places(total=2)
    room.enter("g1", "g")
    room.proved("g1")
    for name in ("g2", "g3"):
        assert room.enter(name, "g") is None
    assert room.enter("s1", "s") == "s1"
    assert room.enter("g4", "g") == "g2"


def test_the_addresses_that_are_known_are_bounded() -> None:
    room = places()
    for number in range(unproven.MAX_KNOWN + 5):
        room.enter(f"c{number}", f"a{number}")
        room.proved(f"c{number}")
    assert len(room._known) == unproven.MAX_KNOWN
    assert "a0" not in room._known


STEPS = st.lists(st.tuples(st.sampled_from(["enter", "leave", "proved"]), st.integers(0, 30)), max_size=120)


@given(STEPS, st.integers(1, 6), st.integers(1, 4), st.sets(st.integers(0, 30)))
def test_places_are_never_exceeded_and_who_goes_was_there(
    steps: list[tuple[str, int]], total: int, per_address: int, greeted: set[int]
) -> None:
    room: UnprovenPlaces[int] = UnprovenPlaces(places=total, per_address=per_address, greeted=greeted.__contains__)
    there: set[int] = set()
    for step, number in steps:
        if step == "enter" and number not in there:
            there.add(number)
            outgoing = room.enter(number, f"a{number % 5}")
            if outgoing is not None:
                assert outgoing in there
                there.discard(outgoing)
        elif step == "proved":
            room.proved(number)
            there.discard(number)
        elif step == "leave":
            room.leave(number)
            there.discard(number)
        assert len(room) == len(there) <= total
        assert all(len(held) <= per_address for held in room._of_address.values())
        assert sum(map(len, room._of_address.values())) == len(room)
