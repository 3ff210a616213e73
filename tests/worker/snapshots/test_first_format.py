"""What is in flight, as format 1 stores it: twice, and refused where the two differ."""

import copy
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.errors import SnapshotRefused
from genlock_core.media import SourcePosition
from genlock_core.stream_state.snapshot import Snapshot
from genlock_worker.engines.contract import ChunkState, EngineState
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.snapshots.first_format import attributes, to_checkpoint

MOCK = {"format": 1, "fedSteps": 2}
DIFFUSION = {"format": 1, "fed_rows": 2}


def checkpoint(own: dict[str, Any], *, index: int = 8, rows: int = 2, done: int = 1) -> Checkpoint:
    first = index == 0
    chunk = ChunkState(
        index, rows, rows, done, first_frame=0 if first else index + 1, latents=2 if first else 1,
        pictures=5 if first else 4, attributes={"level": [0.5, 3]},
    )  # fmt: skip
    return Checkpoint(EngineState(index, (chunk,), own, {}), {index: (SourcePosition(3, 99),)}, SourcePosition(3, 99))


def stored(one: Checkpoint) -> Snapshot:
    return Snapshot("s", "m", 1, 5, one.state.chunk, "0-0", attributes(one), {}, {}, one.source)


@pytest.mark.parametrize("own", [MOCK, DIFFUSION])
@given(index=st.integers(0, 50), rows=st.integers(1, 5), done=st.integers(0, 4))
def test_a_checkpoint_comes_back_as_it_was(own: dict[str, Any], index: int, rows: int, done: int) -> None:
    one = checkpoint(own, index=index, rows=rows, done=min(done, rows - 1))
    assert to_checkpoint(stored(one)) == one


def test_the_form_is_that_of_the_release_before() -> None:
    engine = cast("Any", attributes(checkpoint(DIFFUSION))["engine"])
    assert engine["flights"] == [{"index": 8, "level": [0.5, 3], "done": 1}]
    mocks = cast("Any", attributes(checkpoint(MOCK))["engine"])
    assert mocks["flights"] == [{"index": 8, "level": [0.5, 3], "done": 1, "steps": 2, "firstFrame": 9}]
    assert attributes(checkpoint(MOCK))["flights"] == [[8, 2, 1, 3, 99]]


def test_the_clean_row_of_a_session_without_a_camera_is_no_step() -> None:
    (chunk,) = to_checkpoint(stored(checkpoint({**DIFFUSION, "identity": {"textOnly": True}}, rows=3))).state.in_flight
    assert (chunk.steps, chunk.rows) == (2, 3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a["flights"][0].__setitem__(2, 0), "chunk 8 is stored twice, and the two differ"),
        (lambda a: a["flights"][0].__setitem__(1, 3), "chunk 8 is stored twice, and the two differ"),
        (lambda a: a["engine"]["flights"][0].update(index=9), "stored twice, and the two differ"),
        (lambda a: a["flights"].clear(), "cannot be read"),
        (lambda a: a.pop("flights"), "cannot be read"),
        (lambda a: a["engine"].pop("flights"), "cannot be read"),
        (lambda a: a["engine"]["flights"][0].pop("done"), "cannot be read"),
        (lambda a: a.update(engine=None), "it has no engine attributes"),
    ],
)
def test_what_is_damaged_is_refused_with_the_reason(change: Any, reason: str) -> None:
    snapshot = stored(checkpoint(MOCK))
    damaged = copy.deepcopy(dict(snapshot.attributes))
    change(damaged)
    with pytest.raises(SnapshotRefused, match=reason):
        to_checkpoint(replace(snapshot, attributes=damaged))
