"""What viewers may see while workers change."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_core.media import Codec, SourcePosition
from genlock_gateway.sessions.output_gate import CATCH_UP_S, OVERLAP_S, OWN_SOURCE_RUN, FrameVerdict, OutputGate


def admit(
    gate: OutputGate,
    epoch: int,
    at_us: int,
    *,
    key: bool = False,
    run: int = 1,
    now_s: float = 0.0,
    codec: Codec = Codec.H264,
) -> FrameVerdict:
    return gate.admit(codec, epoch=epoch, position=SourcePosition(run, at_us), key_frame=key, now_s=now_s)


def gate_at(epoch: int) -> OutputGate:
    gate = OutputGate()
    gate.switch(epoch)
    return gate


def test_an_epoch_starts_with_a_key_frame() -> None:
    gate = gate_at(5)
    assert admit(gate, 5, 1) is FrameVerdict.NEEDS_KEY
    assert admit(gate, 5, 2, key=True) is FrameVerdict.SHOW
    assert admit(gate, 5, 3) is FrameVerdict.SHOW


def test_frames_of_a_stale_epoch_are_refused() -> None:
    gate = gate_at(5)
    assert admit(gate, 5, 1, key=True) is FrameVerdict.SHOW
    gate.switch(6)
    assert admit(gate, 5, 2) is FrameVerdict.STALE
    assert admit(gate, 4, 2, key=True) is FrameVerdict.STALE


def test_an_older_claim_never_comes_back() -> None:
    gate = gate_at(6)
    gate.switch(5)
    assert gate.epoch == 6


def test_nothing_older_than_what_was_shown_is_shown_and_the_chain_starts_anew() -> None:
    gate = gate_at(5)
    admit(gate, 5, 100, key=True)
    gate.switch(6)
    assert admit(gate, 6, 90, key=True) is FrameVerdict.OLDER
    assert admit(gate, 6, 110) is FrameVerdict.NEEDS_KEY
    assert admit(gate, 6, 120, key=True) is FrameVerdict.SHOW
    assert gate.last_shown == SourcePosition(1, 120)


def test_a_later_publication_comes_after_an_earlier_one_whatever_its_clock() -> None:
    gate = gate_at(5)
    admit(gate, 5, 10**9, key=True, run=1)
    assert admit(gate, 5, 5, run=2) is FrameVerdict.SHOW


def test_a_polite_move_shows_the_leaving_worker_until_its_successor_is_there() -> None:
    gate = gate_at(5)
    admit(gate, 5, 100, key=True)
    gate.switch(6, leaving=5)
    assert admit(gate, 5, 110) is FrameVerdict.SHOW
    assert admit(gate, 6, 105, key=True) is FrameVerdict.OLDER
    before = gate.successor_arrived
    assert not before
    assert admit(gate, 5, 120) is FrameVerdict.SHOW
    assert not gate.may_leave(0.0)
    assert admit(gate, 6, 130, key=True) is FrameVerdict.SHOW
    assert gate.successor_arrived
    assert gate.may_leave(0.0)
    assert admit(gate, 5, 140) is FrameVerdict.STALE


@pytest.mark.parametrize(("run", "limit_s"), [(OWN_SOURCE_RUN, OVERLAP_S), (1, CATCH_UP_S)])
def test_a_leaving_worker_does_not_win_for_ever(run: int, limit_s: float) -> None:
    gate = gate_at(5)
    admit(gate, 5, 100, key=True, run=run)
    gate.switch(6, leaving=5)
    admit(gate, 6, 50, key=True, now_s=1.0, run=run)
    assert admit(gate, 5, 110, now_s=1.0 + limit_s - 0.01, run=run) is FrameVerdict.SHOW
    assert admit(gate, 5, 111, now_s=1.0 + limit_s + 0.01, run=run) is FrameVerdict.STALE
    assert admit(gate, 6, 112, key=True, now_s=4.0, run=run) is FrameVerdict.SHOW


def test_each_codec_has_its_own_key_frames() -> None:
    gate = gate_at(5)
    assert admit(gate, 5, 1, key=True) is FrameVerdict.SHOW
    assert admit(gate, 5, 1, codec=Codec.VP8) is FrameVerdict.NEEDS_KEY
    gate.restart(Codec.H264)
    assert admit(gate, 5, 2) is FrameVerdict.NEEDS_KEY


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["switch", "handover", "frame"]), st.integers(1, 6), st.integers(0, 60), st.booleans()
        ),
        max_size=80,
    )
)
@settings(max_examples=100)
def test_whatever_comes_what_is_shown_never_goes_back_and_always_decodes(
    steps: list[tuple[str, int, int, bool]],
) -> None:
    gate, last_epoch = OutputGate(), 0
    shown: list[SourcePosition] = []
    for now, (what, epoch, at_us, key) in enumerate(steps):
        if what == "frame":
            position = SourcePosition(1, at_us)
            if admit(gate, epoch, at_us, key=key, now_s=now / 10) is FrameVerdict.SHOW:
                assert not shown or position >= shown[-1]
                assert epoch <= gate.epoch
                assert epoch == last_epoch or key, "another encoder's pictures start with a key frame"
                shown.append(position)
                last_epoch = epoch
        else:
            gate.switch(epoch, leaving=gate.epoch if what == "handover" and gate.epoch else None)
