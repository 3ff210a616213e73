"""Which sessions `genlock up` serves."""

import pytest

from genlock_cli.up.hardware import PRETENDED, Hardware
from genlock_cli.up.sessions import (
    default_manifest,
    demo_sessions,
    read_sessions,
    require_model,
    require_stand_ins,
    shown_on,
)
from genlock_core.errors import BadInput, GenlockError
from genlock_core.sizing.candidates import PoolShape
from genlock_core.sizing.placement import Placement, place
from genlock_core.sizing.profile import ProfileRow, load_profiles
from genlock_core.spec.engines import Coders, EngineKind
from genlock_core.spec.session import Approximation, Resolution

ROWS = load_profiles()
CPU = Hardware("CPU", 1)


@pytest.mark.parametrize(
    ("model", "there", "engine"),
    [
        ("tiny", CPU, "diffusion"),
        ("wan2.1-1.3b", PRETENDED, "mock"),
        ("wan2.1-14b", Hardware("NVIDIA-H100", 1), "diffusion"),
    ],
)
def test_the_demo_with_another_model_is_served_in_time_on_this_hardware(
    model: str, there: Hardware, engine: EngineKind
) -> None:
    (session,) = demo_sessions(default_manifest(), model, ROWS, there, engine=engine)
    pool = PoolShape(name="p", model=model, gpu_product=there.gpu_product, gpus=there.gpus, engine=engine)
    assert isinstance(place(session, ROWS, [pool]), Placement)
    assert session.source.type == "webrtc"


def test_the_demo_with_its_own_model_stays_as_it_is() -> None:
    assert demo_sessions(default_manifest(), "wan2.1-1.3b", ROWS, PRETENDED, engine="mock") == read_sessions(
        default_manifest()
    )


def test_the_demo_takes_the_size_that_was_measured_with_the_workers_own_coders() -> None:
    large, small = Resolution(width=832, height=480), Resolution(width=512, height=512)
    rows = [
        ProfileRow(
            model="mine",
            resolution=size,
            steps=2,
            gpu_product="CPU",
            gpus=1,
            fps_per_session=20,
            encoder=kind,
            decoder=kind,
            source="me",
        )
        for size, kind in ((large, "vae"), (small, "tiny"))
    ]
    for coders, size in ((Coders(), large), (Coders("tiny", "tiny"), small)):
        (session,) = demo_sessions(default_manifest(), "mine", rows, CPU, engine="diffusion", coders=coders)
        assert session.resolution == size


def test_a_model_that_nobody_measured_is_refused_with_those_that_somebody_did() -> None:
    with pytest.raises(GenlockError, match=r"no profile of the model warp \(profiled: tiny, wan2.1-1.3b, wan2.1-14b\)"):
        demo_sessions(default_manifest(), "warp", ROWS, CPU, engine="diffusion")


def test_a_manifest_of_another_model_than_the_command_line_is_refused() -> None:
    sessions = read_sessions(default_manifest())
    require_model(sessions, "wan2.1-1.3b")
    with pytest.raises(GenlockError, match=r"default/demo wants the model wan2.1-1.3b, --model says tiny"):
        require_model(sessions, "tiny")


def test_a_model_that_nobody_measured_cannot_stand_in() -> None:
    (demo,) = read_sessions(default_manifest())
    may = [demo.model_copy(update={"approximation": Approximation(models=models)}) for models in [("tiny",), ("warp",)]]
    require_stand_ins([demo, may[0]], ROWS)
    with pytest.raises(BadInput, match=r"default/demo: approximation\.models: there is no profile of the model warp"):
        require_stand_ins(may, ROWS)


def test_origins_of_the_command_line_come_to_those_of_the_manifest() -> None:
    (demo,) = read_sessions(default_manifest())
    (once,) = shown_on([demo], ["https://a.example", "*"])
    assert once.access.origins == ("https://a.example", "*")
    (twice,) = shown_on([once], ["https://b.example", "https://a.example"])
    assert twice.access.origins == ("https://a.example", "*", "https://b.example")
    assert twice.access.publish is demo.access.publish
    assert shown_on([demo], []) == [demo]
    with pytest.raises(GenlockError, match=r"--origin 'a\.example': must be \* or an origin"):
        shown_on([demo], ["a.example"])
    with pytest.raises(GenlockError, match="at most 16"):
        shown_on([demo], [f"http://a.example:{port}" for port in range(1, 18)])
