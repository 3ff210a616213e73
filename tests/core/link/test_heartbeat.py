"""What a heartbeat says, in bytes; what it means stands in `test_protocol`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.claims.pulse import EnginePhase, Pulse
from genlock_core.errors import LinkProtocolError
from genlock_core.link import heartbeat
from genlock_core.link.handshake import MINOR, PULSE_SINCE

counters = st.integers(0, 2**64 - 1)
pulses = st.builds(Pulse, counters, counters, st.sampled_from(EnginePhase))


@given(pulses)
def test_what_is_said_is_heard(pulse: Pulse) -> None:
    assert heartbeat.decode(heartbeat.encode(pulse, minor=MINOR), minor=MINOR) == pulse


@given(pulses, st.integers(0, PULSE_SINCE - 1))
def test_a_peer_of_an_older_release_hears_its_one_counter(pulse: Pulse, minor: int) -> None:
    said = heartbeat.encode(pulse, minor=minor)
    assert said == pulse.progress.to_bytes(8, "big")
    assert heartbeat.decode(said, minor=minor) == Pulse(pulse.progress)


def test_what_a_later_release_adds_is_left_unread_and_a_phase_of_its_own_counts_as_stepping() -> None:
    said = (5).to_bytes(8, "big") + (6).to_bytes(8, "big") + b"\xc8" + b"more"
    assert heartbeat.decode(said, minor=MINOR) == Pulse(5, 6, EnginePhase.STEPPING)


@pytest.mark.parametrize(("size", "minor"), [(7, 3), (9, 3), (17, 3), (0, MINOR), (8, MINOR), (16, MINOR)])
def test_a_heartbeat_of_another_length_is_a_mistake(size: int, minor: int) -> None:
    with pytest.raises(LinkProtocolError, match=f"heartbeat of {size} bytes"):
        heartbeat.decode(bytes(size), minor=minor)


@given(st.binary(max_size=40), st.integers(0, MINOR + 1))
def test_any_bytes_are_read_or_refused(payload: bytes, minor: int) -> None:
    try:
        pulse = heartbeat.decode(payload, minor=minor)
    except LinkProtocolError:
        return
    assert heartbeat.decode(heartbeat.encode(pulse, minor=minor), minor=minor) == pulse
