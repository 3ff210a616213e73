import pytest
from pydantic import ValidationError

from genlock_core.spec.rules import changed
from genlock_core.spec.session import (
    MODE_DEFAULTS,
    Approximation,
    Orientation,
    PictureFit,
    QualityMode,
    Resolution,
    ResolvedSession,
    SessionKey,
    SourceSpec,
    SourceType,
    StreamSessionSpec,
    resolve,
)

KEY = SessionKey(name="demo")


@pytest.mark.parametrize("mode", QualityMode)
def test_a_quality_mode_fills_in_what_is_left_out(mode: QualityMode) -> None:
    resolved = resolve(KEY, StreamSessionSpec(quality_mode=mode))
    defaults = MODE_DEFAULTS[mode]
    assert (resolved.steps, resolved.resolution) == (defaults.steps, defaults.resolution)
    assert resolved.frame_deadline_ms == defaults.frame_deadline_ms
    assert resolved.time_to_first_frame_ms == defaults.time_to_first_frame_ms


def test_what_the_session_says_stands_before_the_mode() -> None:
    spec = StreamSessionSpec.model_validate({
        "qualityMode": "quality",
        "steps": 1,
        "resolution": {"width": 512, "height": 512},
        "slo": {"frameDeadline": "300ms", "timeToFirstFrame": "400ms", "missBudget": "2%"},
        "idleTimeout": "1m30s",
    })  # fmt: skip
    resolved = resolve(KEY, spec)
    assert (resolved.steps, str(resolved.resolution)) == (1, "512x512")
    assert (resolved.frame_deadline_ms, resolved.time_to_first_frame_ms, resolved.miss_budget) == (300, 400, 0.02)
    assert resolved.idle_timeout_ms == 90_000


def test_a_resolved_session_survives_json() -> None:
    resolved = resolve(KEY, StreamSessionSpec())
    assert ResolvedSession.model_validate_json(resolved.model_dump_json(by_alias=True)) == resolved


def test_min_steps_above_the_modes_steps_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"approximation\.minSteps"):
        StreamSessionSpec(quality_mode=QualityMode.BALANCED, approximation=Approximation(min_steps=3))
    StreamSessionSpec(quality_mode=QualityMode.QUALITY, approximation=Approximation(min_steps=3))


@pytest.mark.parametrize(
    ("frame_rate", "approximation", "source", "may"),
    [
        (16, {"minFrameRate": 8}, "webrtc", True),
        (17, {"minFrameRate": 8}, "testPattern", True),
        (16, {"minFrameRate": 9}, "webrtc", False),
        (16, {}, "webrtc", False),
        (1, {"minFrameRate": 1}, "webrtc", False),
        (16, {"minFrameRate": 8, "policy": "Never"}, "webrtc", False),
        (16, {"minFrameRate": 8}, "none", False),
    ],
)
def test_every_second_frame_may_go_only_where_half_of_the_rate_is_allowed_and_there_is_a_source(
    frame_rate: int, approximation: dict[str, object], source: str, *, may: bool
) -> None:
    spec = {"frameRate": frame_rate, "approximation": approximation, "source": {"type": source}}
    assert resolve(KEY, StreamSessionSpec.model_validate(spec)).may_halve is may


def test_a_least_frame_rate_above_the_frame_rate_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"approximation\.minFrameRate: must not be larger than frameRate"):
        StreamSessionSpec(frame_rate=8, approximation=Approximation(min_frame_rate=9))
    StreamSessionSpec(frame_rate=8, approximation=Approximation(min_frame_rate=8))


@pytest.mark.parametrize("models", [["wan2.1-1.3b"], ["tiny", "tiny"], ["Tiny"], [""], ["a", "b", "c", "d", "e"]])
def test_models_that_cannot_stand_in_are_refused(models: list[str]) -> None:
    with pytest.raises(ValidationError, match=r"approximation\.models"):
        StreamSessionSpec.model_validate({"approximation": {"models": models}})


def test_models_that_may_stand_in_stay_in_their_order_and_never_change() -> None:
    spec = StreamSessionSpec.model_validate({"approximation": {"models": ["wan2.1-14b", "tiny"]}})
    assert resolve(KEY, spec).approximation.models == ("wan2.1-14b", "tiny")
    before, after = (one.model_dump(mode="json", by_alias=True) for one in (StreamSessionSpec(), spec))
    assert [problem.path for problem in changed(before, after)] == ["approximation.models"]


def test_a_path_belongs_to_a_file_source_and_to_no_other() -> None:
    SourceSpec(type=SourceType.FILE, path="a.mp4")
    with pytest.raises(ValidationError, match="needs one"):
        SourceSpec(type=SourceType.FILE)
    with pytest.raises(ValidationError, match="leave it out"):
        SourceSpec(type=SourceType.NONE, path="a.mp4")


@pytest.mark.parametrize("prompt", ["", " \n\t", "bell\x07", "nul\x00"])
def test_a_prompt_must_say_something_visible(prompt: str) -> None:
    with pytest.raises(ValidationError):
        StreamSessionSpec(prompt=prompt)


@pytest.mark.parametrize(("text", "key"), [("demo", "default/demo"), ("studio/demo", "studio/demo")])
def test_a_key_is_read_with_and_without_its_namespace(text: str, key: str) -> None:
    assert str(SessionKey.parse(text)) == key


@pytest.mark.parametrize("text", ["", "Demo", "a/b/c", "-a", "a" * 64, "a\n"])
def test_a_key_that_is_no_dns_label_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        SessionKey.parse(text)


@pytest.mark.parametrize(
    ("orientation", "made"),
    [(None, "832x480"), ("auto", "832x480"), ("landscape", "832x480"), ("portrait", "480x832")],
)
def test_an_orientation_turns_the_resolution(orientation: str | None, made: str) -> None:
    resolved = resolve(KEY, StreamSessionSpec.model_validate({"orientation": orientation}))
    assert str(resolved.resolution) == made


def test_a_resolution_is_turned_back_and_a_square_never() -> None:
    upright = Resolution(width=480, height=832)
    assert upright.turned(Orientation.LANDSCAPE) == Resolution(width=832, height=480)
    assert upright.turned(Orientation.PORTRAIT) == upright
    assert upright.is_alike(upright.turned(Orientation.LANDSCAPE))
    assert not upright.is_alike(Resolution(width=512, height=832))
    square = Resolution(width=512, height=512)
    assert square.orientation is None
    assert square.turned(Orientation.PORTRAIT) == square


def test_manifests_of_before_have_the_picture_that_they_had() -> None:
    resolved = resolve(KEY, StreamSessionSpec(resolution=Resolution(width=480, height=832)))
    assert (str(resolved.resolution), resolved.orientation, resolved.fit) == ("480x832", None, PictureFit.CROP)
