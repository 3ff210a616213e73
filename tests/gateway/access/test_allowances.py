"""Who pays, and that an ordinary crowd never pays too much."""

import pytest
from starlette.requests import HTTPConnection

from genlock_core.clock import ManualClock
from genlock_core.tokens import Keyring, Role
from genlock_gateway.access.access import Access
from genlock_gateway.access.allowances import SESSION_TIMES, Allowances
from genlock_gateway.access.problems import Problem
from genlock_gateway.settings import Limits

KEYRING = Keyring.parse("k1:0123456789abcdef")
SHOW = "/api/v1/sessions/default/demo"


class Crowd:
    """Requests from addresses to one gateway."""

    def __init__(self, **limits: float) -> None:
        self.clock = ManualClock()
        self.refusals: list[Problem] = []
        defaults = Limits()
        chosen = {name: limits.get(name, getattr(defaults, name)) for name in ("looks_per_s", "look_burst")}
        chosen |= {name: limits.get(name, getattr(defaults, name)) for name in ("requests_per_s", "request_burst")}
        made = Limits(
            peers=defaults.peers,
            viewers_per_session=defaults.viewers_per_session,
            event_streams=defaults.event_streams,
            **chosen,
        )
        self.allowances = Allowances(Access(KEYRING, None, self.clock), self.clock, made)

    def asks(self, path: str = SHOW, method: str = "GET", *, address: str = "192.0.2.1", token: str = "") -> bool:
        """Whether the request is let pass."""
        headers = [(b"host", b"g0"), *([(b"authorization", f"Bearer {token}".encode())] if token else [])]
        scope = {"type": "http", "headers": headers, "client": (address, 1), "path": path, "query_string": b""}
        scope |= {"scheme": "http", "server": ("g0", 80), "method": method}
        try:
            self.allowances.admit(HTTPConnection(scope))
        except Problem as refused:
            self.refusals.append(refused)
            return False
        return True


def test_three_hundred_watch_pages_and_a_home_page_of_one_address_are_never_refused() -> None:
    crowd = Crowd()
    for _ in range(300):
        assert crowd.asks("/watch/default/demo")
        assert crowd.asks("/assets/watch.js")
        assert crowd.asks()
        assert crowd.asks("/whep/default/demo", "POST")
    for second in range(60):
        crowd.clock.advance(1.0)
        if second % 3 == 0:
            assert all(crowd.asks() for _ in range(300))
            assert crowd.asks("/api/v1/sessions")
        assert all(crowd.asks(f"/api/v1/sessions/default/s{card}/preview.jpg") for card in range(50))
        if second == 30:
            # All are sent to another gateway and come back: goodbye, and a new offer.
            assert all(crowd.asks("/whep/default/demo/g0/abc", "DELETE") for _ in range(300))
            assert all(crowd.asks("/whep/default/demo", "POST") for _ in range(300))


def test_an_address_that_asks_too_often_is_refused_and_no_other_one() -> None:
    crowd = Crowd(look_burst=3, looks_per_s=0.1)
    assert [crowd.asks() for _ in range(4)] == [True, True, True, False]
    (refusal,) = crowd.refusals
    assert (refusal.status, refusal.headers) == (429, {"Retry-After": "10"})
    assert crowd.asks(address="192.0.2.2")


def test_a_whole_ipv6_network_is_one_client() -> None:
    crowd = Crowd(look_burst=1)
    assert crowd.asks(address="2001:db8::1")
    assert not crowd.asks(address="2001:db8::2")
    assert crowd.asks(address="2001:db8:0:1::1")


def test_who_only_looks_takes_nothing_from_who_comes_in() -> None:
    crowd = Crowd(look_burst=1, request_burst=1)
    assert crowd.asks()
    assert not crowd.asks()
    assert crowd.asks("/whep/default/demo", "POST")


def test_who_has_a_token_does_not_suffer_from_the_crowd_at_the_same_address() -> None:
    crowd = Crowd(look_burst=1, request_burst=1, looks_per_s=0.1, requests_per_s=0.1)
    token = KEYRING.token("default/demo", Role.VIEW)
    for _ in range(5):
        crowd.asks()
        crowd.asks("/whip/default/demo", "POST")
    assert crowd.asks(token=token)
    assert crowd.asks("/whip/default/demo", "POST", token=token)


def test_all_tokens_of_a_session_share_its_bucket_wherever_they_come_from() -> None:
    crowd = Crowd(look_burst=1, looks_per_s=0.1)
    tokens = [KEYRING.token("default/demo", role) for role in (Role.VIEW, Role.PUBLISH)]
    asked = [crowd.asks(address=f"192.0.2.{n}", token=tokens[n % 2]) for n in range(SESSION_TIMES + 1)]
    assert asked == [True] * SESSION_TIMES + [False]
    other = KEYRING.token("default/other", Role.VIEW)
    assert crowd.asks("/api/v1/sessions/default/other", token=other)


@pytest.mark.parametrize("token", ["gl1.k1.wrong", KEYRING.token("default/other", Role.PUBLISH), "x y", " "])
def test_a_token_that_is_wrong_for_the_session_counts_as_none(token: str) -> None:
    crowd = Crowd(look_burst=2, looks_per_s=0.1)
    assert [crowd.asks(token=token) for _ in range(3)] == [True, True, False]


def test_probes_and_files_are_never_refused() -> None:
    crowd = Crowd(look_burst=1, looks_per_s=0.1)
    assert crowd.asks()
    assert all(crowd.asks(path) for path in ("/healthz", "/readyz", "/", "/assets/style.css") for _ in range(50))
