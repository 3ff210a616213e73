"""`genlock apply` and `kubectl apply` take and refuse the same specs: generated ones, some with a mistake or two.

The API server alone takes `null` where there is a default, and 2.0 for 2; it stores the default, and 2.
"""

from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genlock_core.errors import InvalidManifest
from genlock_core.spec.manifest import load_manifest
from genlock_core.spec.session import StreamSessionSpec
from tests.operator.cluster.resources import SESSION, Resources, manifest

pytestmark = pytest.mark.apiserver

DURATIONS = st.sampled_from(["50ms", "250ms", "1s", "1s500ms", "0.5s", "1m"])
BITRATES = st.sampled_from(["100k", "1500k", "20M", "2.5M", "800000"])
SIZES = st.integers(4, 120).map(lambda blocks: blocks * 16)
VALID = st.fixed_dictionaries(
    {},
    optional={
        "model": st.from_regex(r"[a-z0-9][a-z0-9.\-]{0,20}", fullmatch=True),
        "qualityMode": st.sampled_from(["low-latency", "balanced", "quality"]),
        "steps": st.integers(1, 4),
        "resolution": st.fixed_dictionaries({"width": SIZES, "height": SIZES}),
        "frameRate": st.integers(1, 60),
        "prompt": st.text(st.characters(categories=["L", "Nd", "Po", "Zs", "So"]), min_size=1, max_size=30),
        "seed": st.integers(0, 2**63 - 1),
        "noiseScale": st.floats(0.1, 1.0),
        "source": st.fixed_dictionaries(
            {},
            optional={
                "type": st.sampled_from(["webrtc", "file", "testPattern", "none"]),
                "path": st.sampled_from(["a.mp4", "a/b c.mp4"]),
                "loop": st.booleans(),
            },
        ),
        "output": st.fixed_dictionaries({}, optional={"codec": st.sampled_from(["h264", "vp8"]), "bitrate": BITRATES}),
        "slo": st.fixed_dictionaries(
            {},
            optional={
                "timeToFirstFrame": DURATIONS,
                "frameDeadline": DURATIONS,
                "missBudget": st.sampled_from(["0%", "1%", "0.25%", "99.9%", "100%", "100.0%"]),
            },
        ),
        "approximation": st.fixed_dictionaries(
            {},
            optional={
                "policy": st.sampled_from(["Never", "Adaptive"]),
                "minSteps": st.integers(1, 4),
                "minFrameRate": st.integers(1, 60),
                "models": st.lists(st.sampled_from(["other-1", "other-2", "other-3"]), unique=True, max_size=3),
            },
        ),
        "recovery": st.fixed_dictionaries({}, optional={"snapshot": st.sampled_from(["EveryChunk", "Never"])}),
        "access": st.fixed_dictionaries(
            {},
            optional={
                "view": st.sampled_from(["Token", "Public"]),
                "origins": st.lists(st.sampled_from(["*", "https://www.example.org", "http://[::1]:8000"]), max_size=3),
            },
        ),
        "idleTimeout": st.sampled_from(["1s", "10m", "744h", "1h30m"]),
        "ttlSecondsAfterFinished": st.integers(0, 2_678_400),
    },
)
ODD = st.sampled_from(["", " ", "1", "no such", "1e3", "0x10", True, 0, -1, 5, 1.5, 1e30, 2**63, [], {}, [1]])
MISTAKES: dict[str, st.SearchStrategy[Any]] = {
    "access.origins": st.lists(st.from_regex(r"(\*|https?://)?[-a-zA-Z0-9.:/\[\]]{0,12}", fullmatch=True)) | ODD,
    "model": st.text(max_size=70) | ODD,
    "qualityMode": st.sampled_from(["fast", "Quality"]) | ODD,
    "steps": st.integers(-1, 6) | ODD,
    "resolution": st.fixed_dictionaries({}, optional={"width": st.integers(0, 2_000)}) | ODD,
    "resolution.width": st.integers(0, 2_000) | ODD,
    "frameRate": st.integers(-1, 62) | ODD,
    "prompt": st.text(max_size=40) | st.integers(1_999, 2_001).map("ж".__mul__) | ODD,
    "seed": st.sampled_from([-1, 2**63, 2**64]) | ODD,
    "noiseScale": st.floats(0, 2) | ODD,
    "source.type": ODD,
    "source.path": st.text(max_size=3) | st.just("x" * 1_025) | ODD,
    "source.loop": ODD,
    "output.bitrate": st.from_regex(r"[0-9]{0,3}(\.[0-9]{1,2})?[kMG]?", fullmatch=True) | ODD,
    "slo.timeToFirstFrame": st.from_regex(r"([0-9]{1,3}(\.[0-9])?(ms|s|m|h|d)?){0,2}", fullmatch=True) | ODD,
    "slo.missBudget": st.from_regex(r"[0-9]{0,3}(\.[0-9]?)?%?", fullmatch=True) | ODD,
    "approximation.minSteps": st.integers(-1, 6) | ODD,
    "approximation.minFrameRate": st.integers(-1, 62) | ODD,
    "approximation.models": st.lists(st.sampled_from(["a", "b", "wan2.1-1.3b", "B", ""]), max_size=6) | ODD,
    "access.view": ODD,
    "idleTimeout": st.from_regex(r"[0-9]{1,4}(ms|s|m|h|d)", fullmatch=True) | ODD,
    "ttlSecondsAfterFinished": st.integers(2_678_399, 2_678_401) | ODD,
    "colour": ODD,
    "source.colour": ODD,
}


MENDED = st.sampled_from([None, 1.0, 2.0])
"""What the API server makes good in some fields."""


@st.composite
def specs(draw: st.DrawFn, *, mended: bool = False) -> dict[str, Any]:
    """A spec with at most two mistakes; what looks like a mistake may be none."""
    spec = draw(VALID)
    for path in draw(st.lists(st.sampled_from(sorted(MISTAKES)), max_size=2)):
        *above, last = path.split(".")
        where: Any = spec
        for part in above:
            where = where.setdefault(part, {})
        if isinstance(where, dict):
            where[last] = draw(MENDED | MISTAKES[path] if mended else MISTAKES[path])
    return spec


def read(spec: dict[str, Any]) -> tuple[StreamSessionSpec | None, str]:
    """The spec as Genlock reads it, or what it has against it."""
    try:
        (found,) = load_manifest(yaml.safe_dump(manifest(SESSION, spec)))
    except InvalidManifest as refused:
        return None, str(refused)
    return found.spec, ""


def store(sessions: Resources, spec: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """The spec as the API server would store it, or what it has against it."""
    query = {"fieldValidation": "Strict", "dryRun": "All"}
    answer = sessions.kube.post(sessions.path, json=manifest(SESSION, spec), params=query)
    assert answer.status_code in (201, 400, 422), answer.text
    body = answer.json()
    return (body["spec"], "") if answer.is_success else (None, str(body["message"]))


bounded = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@bounded
@given(spec=specs())
def test_both_take_or_refuse_it(sessions: Resources, spec: dict[str, Any]) -> None:
    _, ours = read(spec)
    _, theirs = store(sessions, spec)
    assert bool(ours) == bool(theirs), f"Genlock says: {ours or 'fine'}\nthe API server says: {theirs or 'fine'}"


@bounded
@given(spec=specs(mended=True))
def test_what_the_api_server_stores_the_operator_reads_as_it_was_meant(
    sessions: Resources, spec: dict[str, Any]
) -> None:
    stored, _ = store(sessions, spec)
    if stored is None:
        return
    found, mistakes = read(stored)
    assert not mistakes
    meant, _ = read(spec)
    assert meant in (None, found)
