import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from genlock_core.slo.report import (
    MAX_REPORT_BYTES,
    EncoderReport,
    InvalidReport,
    Percentiles,
    SnapshotReport,
    StreamReport,
    leg_ms,
)
from genlock_core.slo.stages import Leg

REPORT = StreamReport(
    chunk=12,
    steps=2,
    requested_steps=4,
    prompt="ink",
    output_fps=15.9,
    chunk_latency_ms=Percentiles(p50=180.0, p99=240.0),
    stages={"engine": 90.5},
    snapshot=SnapshotReport(chunk=11, bytes=200_000, ms=3.5),
    encoder=EncoderReport(codec="h264", kbps=1_480.0),
)


def test_a_report_is_read_back_as_it_was_sent() -> None:
    assert StreamReport.parse(REPORT.to_json()) == REPORT
    assert StreamReport.parse(StreamReport().to_json()) == StreamReport()


def test_the_wire_form_has_the_fields_of_the_contract() -> None:
    full = REPORT.with_gateway(
        viewers=3, worker="w0", epoch=7, moves=1, freezes=0, lastRecoveryGapMs=None, latency_ms={"p50": 300, "p99": 400}
    )
    assert full.viewers == 3
    assert set(StreamReport(**{**full.model_dump(), "first_frame_ms": 1, "engine_ms": {"p50": 1, "p99": 2},
        "recovery_ms": 1, "last_recovery_gap_ms": 1, "recovery_legs_ms": {"claim": 1}, "memory_bytes": 1,
        "first_frame_legs_ms": {"open": 1},
        "frame_rate": 8, "sink_digests": {"version": 1, "rows": ["a", ""]}}).to_dict()) == {
        "chunk", "steps", "requestedSteps", "prompt", "paused", "strained", "inputFps", "outputFps", "droppedInput",
        "framesOut", "frameRate",
        "lateFrames", "missShare", "firstFrameMs", "chunkLatencyMs", "engineMs", "batchRows", "memoryBytes", "stages",
        "sinkDigest", "sinkDigests", "trouble",
        "restored", "recoveryMs", "snapshot", "encoder", "viewers", "worker", "epoch", "moves", "freezes",
        "lastRecoveryGapMs", "recoveryLegsMs", "firstFrameLegsMs", "latencyMs",
    }  # fmt: skip


def test_unknown_fields_of_a_newer_worker_are_ignored() -> None:
    assert StreamReport.parse(b'{"chunk": 3, "colour": {"deep": [1]}}').chunk == 3


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"chunk": "many"}',
        b'{"missShare": 2}',
        b'{"inputFps": -1}',
        b'{"frameRate": 0}',
        b'{"inputFps": NaN}',
        b'{"chunk": 9223372036854775808}',
        b'{"prompt": "' + b"x" * 2_001 + b'"}',
        json.dumps({"stages": {str(n): 1 for n in range(33)}}).encode(),
        b'{"prompt": "' + b"x" * MAX_REPORT_BYTES + b'"}',
    ],
)
def test_a_report_that_is_none_or_too_large_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidReport):
        StreamReport.parse(data)


@given(st.binary(max_size=80) | st.dictionaries(
    st.sampled_from(["chunk", "stages", "snapshot", "encoder", "latencyMs", "prompt"]),
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                 lambda inner: st.dictionaries(st.sampled_from(["p50", "p99", "chunk", "ms"]), inner), max_leaves=5),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_bytes_are_a_report_or_refused(data: bytes) -> None:
    with contextlib.suppress(InvalidReport):
        StreamReport.parse(data).to_json()


def test_the_gateways_figures_are_checked_too() -> None:
    with pytest.raises(ValidationError):
        REPORT.with_gateway(viewers=-1)


def test_a_latency_budget_becomes_milliseconds() -> None:
    assert leg_ms({Leg.ENGINE: 1_500, Leg.FAN_OUT: 2}) == {"engine": 1.5, "fanOut": 0.002}
