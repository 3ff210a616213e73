"""One grammar for each field: whatever one side takes, each later side takes too, and reads as the same value."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from genlock_core.claims.record import PoolChoice, SessionRecord, from_fields, to_fields
from genlock_core.crds.crd import SESSION, schema
from genlock_core.errors import InvalidManifest
from genlock_core.spec.manifest import load_manifest
from genlock_core.spec.session import resolve
from genlock_core.stream_state.control import ControlChange, ControlRequest

NEAR = {
    "prompt": st.sampled_from(
        ["ink", " ", "", "\u00a0", "a\x07", "\t\n", "x" * 2_000, "x" * 2_001, "\ud800", "\x7f", "墨"]
    ),
    "steps": st.sampled_from([0, 1, 4, 5, 2.0, 2.5, True, "2"]),
    "noiseScale": st.sampled_from([0.1, 1, 1.0, 0.0999, 1.1, True, "0.5", 1e-400]),
    "paused": st.sampled_from([True, False, 1, 0, "yes", "true"]),
    "reset": st.sampled_from([True, False, 1, 1.0, "true"]),
    "client": st.sampled_from(["me", "a:b", "", "x" * 64, "x" * 65, "me\n", "a b", "ü", 7]),
    "number": st.sampled_from([0, 7, 7.0, 2**53 - 1, 2**53, -1, True, "7", 0.5]),
    "seed": st.sampled_from([0, 7, 7.0, 2**63 - 1, 2**63, -1, True, "7"]),
}
ANY = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)


def wishes(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Fields with values at their bounds, or with anything at all."""
    return st.fixed_dictionaries({}, optional={name: NEAR[name] | ANY for name in names})


def over_http(wish: dict[str, Any]) -> ControlRequest | None:
    try:
        return ControlRequest.model_validate_json(json.dumps(wish))
    except ValidationError:
        return None


def over_a_data_channel(wish: dict[str, Any]) -> ControlRequest | None:
    try:
        return ControlRequest.model_validate(json.loads(json.dumps(wish)))
    except ValidationError:
        return None


def by_manifest(wish: dict[str, Any]) -> SessionRecord | None:
    manifest = {
        "apiVersion": "genlock.dev/v1alpha1", "kind": "StreamSession", "metadata": {"name": "demo"}, "spec": wish,
    }  # fmt: skip
    try:
        (read,) = load_manifest(json.dumps(manifest))
    except InvalidManifest:
        return None
    return SessionRecord(session=resolve(read.key, read.spec), pools=(PoolChoice("pool", 10),))


@given(wishes("prompt", "steps", "noiseScale", "paused", "reset", "client", "number"))
def test_what_a_gateway_takes_the_stream_gives_the_worker(wish: dict[str, Any]) -> None:
    request = over_http(wish)
    assert over_a_data_channel(wish) == request

    if request is not None:
        stored = {name: text.encode().decode() for name, text in request.change.to_fields().items()}
        assert ControlChange.from_fields(stored) == request.change


@given(wishes("prompt", "steps", "noiseScale"))
def test_a_manifest_and_a_change_have_the_same_grammar(wish: dict[str, Any]) -> None:
    given = {name: value for name, value in wish.items() if value is not None}
    record, request = by_manifest(given), over_http(given)
    assert not given or (record is None) is (request is None), given

    if record is not None and request is not None:
        change = request.change.model_dump(exclude_none=True)
        assert record.session.model_dump(include=set(change)) == change


@given(wishes("prompt", "steps", "noiseScale", "seed"))
def test_what_a_manifest_may_say_a_record_keeps(wish: dict[str, Any]) -> None:
    record = by_manifest(wish)
    if record is not None:
        assert from_fields(to_fields(record)).session == record.session


@given(wishes("prompt", "steps", "noiseScale", "seed"))
def test_what_the_api_server_takes_the_operator_reads(wish: dict[str, Any]) -> None:
    """What it cannot keep never gets past it: half a character, and a whole number of more than 64 bits."""
    kept = {name: _as_kept(value) for name, value in wish.items() if _may_be_kept(value)}
    spec = schema(SESSION)["properties"]["spec"]
    taken = jsonschema.Draft202012Validator(spec).is_valid(kept)
    assert not taken or by_manifest(kept) is not None, kept


def _may_be_kept(value: object) -> bool:
    if isinstance(value, str):
        return not any(0xD800 <= ord(char) < 0xE000 for char in value)
    if isinstance(value, int | float):
        return -(2**63) <= value < 2**63
    return value is not None


def _as_kept(value: object) -> object:
    """It writes 2.0 as 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@pytest.mark.parametrize(
    "wish",
    [
        {"prompt": "ink", "client": "a:b", "number": 1},
        {"prompt": "ink", "client": "me"},
        {"steps": True},
        {"steps": 2.0},
        {"noiseScale": True},
        {"reset": 1},
        {"paused": 1},
        {"prompt": "\ud800"},
        {"prompt": "ink", "number": 2**53},
    ],
)
def test_no_edge_takes_what_is_only_like_a_value(wish: dict[str, Any]) -> None:
    assert over_http(wish) is None
    assert over_a_data_channel(wish) is None
