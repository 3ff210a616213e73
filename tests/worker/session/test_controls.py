"""What users want now, from the spec, the record and the control stream."""

from genlock_core.claims.record import ControlValue
from genlock_core.spec.session import SessionKey, StreamSessionSpec, resolve
from genlock_core.stream_state.control import ControlChange, ControlEntry
from genlock_worker.engines.contract import Change
from genlock_worker.session.controls import RequestedSettings

SPEC = resolve(SessionKey(name="demo"), StreamSessionSpec(prompt="oil", steps=2, noise_scale=0.7))


def test_the_record_overlays_the_spec_and_the_stream_overlays_both() -> None:
    record = {"prompt": ControlValue("neon", "1-0"), "steps": ControlValue("3", "2-0")}
    requested = RequestedSettings.of(SPEC, record)
    assert (requested.prompt, requested.steps, requested.noise_scale, requested.paused) == ("neon", 3, 0.7, False)
    requested = requested.after([ControlEntry("5-0", "c", 1, ControlChange(prompt="ink", paused=True))])
    assert (requested.prompt, requested.steps, requested.paused, requested.control_id) == ("ink", 3, True, "5-0")


def test_a_value_that_cannot_be_read_is_left_out() -> None:
    requested = RequestedSettings.of(SPEC, {"steps": ControlValue("nine", "1-0"), "mood": ControlValue("blue", "2-0")})
    assert requested == RequestedSettings("oil", 2, 0.7)


def test_the_engine_is_told_only_what_changed() -> None:
    before = RequestedSettings("oil", 2, 0.7)
    after = before.changed(ControlChange(steps=4, paused=True), "3-0")
    assert after.difference(before) == Change(steps=4)


def test_requested_settings_survive_as_the_records_values() -> None:
    requested = RequestedSettings("ink", 3, 0.4, paused=True, control_id="7-1")
    assert RequestedSettings.of(SPEC, requested.as_control()) == RequestedSettings("ink", 3, 0.4, paused=True)


def test_a_fresh_start_is_known_by_the_last_entry_that_asked_for_it() -> None:
    before = RequestedSettings("oil", 2, 0.7)
    entries = [
        ControlEntry("9-0", "c", 1, ControlChange(reset=True)),
        ControlEntry("10-0", "c", 2, ControlChange(steps=3)),
    ]
    after = before.after(entries)
    assert after.difference(before) == Change(steps=3, reset="9-0")
    assert after.after([ControlEntry("11-0", "c", 3, ControlChange(steps=4))]).difference(after) == Change(steps=4)
    assert after.after([ControlEntry("11-0", "c", 3, ControlChange(reset=True))]).difference(after) == Change(
        reset="11-0"
    )


def test_a_fresh_start_outdates_a_state_that_does_not_know_of_it() -> None:
    requested = RequestedSettings("oil", 2, 0.7, reset_id="10-1")
    assert [requested.outdate(control_id) for control_id in ("0-0", "9-7", "10-0", "10-1", "11-0")] == [True] * 3 + [
        False
    ] * 2
    assert not RequestedSettings("oil", 2, 0.7).outdate("0-0")


def test_a_fresh_start_survives_in_the_record() -> None:
    requested = RequestedSettings("ink", 3, 0.4, control_id="7-1", reset_id="6-0")
    assert RequestedSettings.of(SPEC, requested.as_control()) == RequestedSettings("ink", 3, 0.4, reset_id="6-0")
    assert RequestedSettings.of(SPEC, {"reset": ControlValue("true", "soon")}).reset_id == "0-0", "an id that is none"
