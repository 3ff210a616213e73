"""Who may say whose a request is: gateways of the installation, once, and of this request only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.clock import ManualClock
from genlock_core.tokens import Keyring
from genlock_gateway.access import gateway_proof
from genlock_gateway.access.gateway_proof import WINDOW_S, GatewayProofs, PassedOn

KEYRING = Keyring.parse("k2:fedcba9876543210,k1:0123456789abcdef")
TARGET = "/whip/default/demo/g1/abc?x=1"


def proofs(keyring: Keyring = KEYRING, clock: ManualClock | None = None) -> GatewayProofs:
    return GatewayProofs(keyring.keys, clock or ManualClock())


def test_a_proof_says_whose_request_it_is_and_what_its_body_was() -> None:
    header = proofs().sign("PATCH", TARGET, b"a=candidate", client="2001:db8::1")
    found = proofs().verify(header, "PATCH", TARGET)
    assert found is not None
    assert found.client == "2001:db8::1"
    assert found.has(b"a=candidate")
    assert not found.has(b"a=candidates")


@pytest.mark.parametrize(("client", "read"), [("fe80::1%eth0", "fe80::1"), ("::ffff:192.0.2.1", "192.0.2.1")])
def test_an_address_is_passed_on_in_one_spelling(client: str, read: str) -> None:
    found = proofs().verify(proofs().sign("GET", TARGET, b"", client=client), "GET", TARGET)
    assert found is not None
    assert found.client == read


def test_a_key_that_is_on_its_way_out_still_verifies_and_a_strange_one_does_not() -> None:
    old, other = Keyring.parse("k1:0123456789abcdef"), Keyring.parse("k1:another-secret-of-16")
    header = proofs(old).sign("GET", TARGET, b"", client="192.0.2.1")
    assert proofs().verify(header, "GET", TARGET) is not None
    assert proofs(other).verify(header, "GET", TARGET) is None
    assert proofs(Keyring.parse("k9:0123456789abcdef")).verify(header, "GET", TARGET) is None


@pytest.mark.parametrize(("method", "target"), [("DELETE", TARGET), ("PATCH", "/whip/default/demo/g1/abc?x=2")])
def test_a_proof_is_of_one_request(method: str, target: str) -> None:
    header = proofs().sign("PATCH", TARGET, b"", client="192.0.2.1")
    assert proofs().verify(header, method, target) is None


def test_a_proof_is_good_once() -> None:
    reader = proofs()
    header = reader.sign("GET", TARGET, b"", client="192.0.2.1")
    assert reader.verify(header, "GET", TARGET) is not None
    assert reader.verify(header, "GET", TARGET) is None


@pytest.mark.parametrize(("late_s", "good"), [(WINDOW_S, True), (WINDOW_S + 1, False), (-WINDOW_S - 1, False)])
def test_a_proof_is_good_for_a_while(late_s: float, good: bool) -> None:
    reader = proofs(clock=ManualClock(wall_ms=1_700_000_000_000 + round(late_s * 1_000)))
    header = proofs().sign("GET", TARGET, b"", client="192.0.2.1")
    assert (reader.verify(header, "GET", TARGET) is not None) is good


def test_the_proofs_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_proof, "MAX_NONCES", 3)
    reader = proofs()
    for _ in range(10):
        assert reader.verify(reader.sign("GET", TARGET, b"", client="192.0.2.1"), "GET", TARGET) is not None
    assert len(reader._seen) == 3


@given(st.integers(0, 300), st.characters(codec="latin-1"))
def test_a_proof_with_any_other_character_in_it_says_nothing(at: int, instead: str) -> None:
    header = proofs().sign("GET", TARGET, b"body", client="192.0.2.1")
    at %= len(header)
    if header[at] != instead:
        assert proofs().verify(header[:at] + instead + header[at + 1 :], "GET", TARGET) is None


@given(st.text(max_size=600))
def test_any_header_is_read_or_says_nothing(header: str) -> None:
    assert proofs().verify(header, "GET", TARGET) is None


def test_the_secret_of_proofs_is_no_other_secret_of_the_installation() -> None:
    """A proof's MAC says nothing of a token's or a link's."""
    header = proofs().sign("GET", TARGET, b"", client="192.0.2.1")
    assert KEYRING.keys[0].mac(f"GET\n{TARGET}\n{header.rpartition(' ')[0]}").hex() not in header
    assert PassedOn("192.0.2.1", "x") == PassedOn("192.0.2.1", "x")
