"""What a worker expects of its model: by the figures it was told, else by the seed profiles, else by nothing."""

import pytest

from genlock_core.sizing.profile import UnknownProfile
from genlock_core.sizing.step_time import StepTime
from genlock_core.spec.session import MODE_DEFAULTS, QualityMode, Resolution
from genlock_worker.engines.contract import BatchShape, DeviceSeconds
from genlock_worker.rows import prior
from genlock_worker.rows.cost_model import CostModel
from genlock_worker.rows.prior import (
    UNMEASURED,
    mock_timing,
    offered_sizes,
    prior_cost,
    promised_cost,
    usual_resolution,
    warm_up_plan,
    warm_up_settings,
)
from genlock_worker.settings import WorkerSettings, parse_settings

SEEDED = ["--model", "wan2.1-1.3b", "--gpu-product", "NVIDIA-H100", "--gpus", "1"]
UNHEARD_OF = ["--model", "mine", "--gpu-product", "NVIDIA-L4", "--gpus", "1"]
OWN = '{"512x512":{"1":10,"2":8,"3":6,"4":5},"256x256":{"1":40}}'
SQUARE, WIDE = Resolution(width=512, height=512), Resolution(width=832, height=480)


def settings(arguments: list[str], figures: str = "") -> WorkerSettings:
    return parse_settings(arguments, {"GENLOCK_WORKER_MEASURED_FPS": figures})


def test_without_figures_of_its_own_the_seed_profiles_say_how_fast_it_is() -> None:
    given = settings(SEEDED)
    assert usual_resolution(given) == WIDE
    assert prior_cost(given).seconds(2) == pytest.approx(4 / 17.97, rel=0.02)
    assert mock_timing(given).seconds(rows=2, width=832, height=480, frames=4) == pytest.approx(4 / 17.97, rel=0.02)


@pytest.mark.parametrize("arguments", [SEEDED, UNHEARD_OF])
def test_figures_that_it_is_told_come_before_the_seed_profiles(arguments: list[str]) -> None:
    given = settings(arguments, OWN)
    assert usual_resolution(given) == SQUARE
    assert (warm_up_settings(given).width, warm_up_settings(given).height) == (512, 512)
    assert prior_cost(given) == StepTime.from_fps({1: 10, 2: 8, 3: 6, 4: 5}, chunk_frames=4)
    timing = mock_timing(given)
    assert timing.seconds(rows=1, width=512, height=512, frames=4) == pytest.approx(4 / 10, rel=0.1)


def test_the_size_of_most_sessions_is_the_balanced_modes_if_it_was_measured() -> None:
    both = settings(UNHEARD_OF, '{"512x512":{"1":10},"832x480":{"1":4}}')
    assert usual_resolution(both) == MODE_DEFAULTS[QualityMode.BALANCED].resolution == WIDE
    assert usual_resolution(settings(UNHEARD_OF, '{"512x512":{"1":10},"256x256":{"1":40}}')) == SQUARE
    assert usual_resolution(settings(UNHEARD_OF)) == WIDE


def test_one_figure_is_enough() -> None:
    given = settings(UNHEARD_OF, '{"256x256":{"2":8}}')
    assert prior_cost(given).seconds(2) == pytest.approx(4 / 8)
    assert mock_timing(given).seconds(rows=2, width=256, height=256, frames=4) == pytest.approx(4 / 8)


@pytest.mark.parametrize("figures", ["", OWN, '{"256x256":{"2":8}}', '{"512x512":{"1":4,"2":8}}'])
def test_the_scheduler_expects_what_the_mock_takes(figures: str) -> None:
    given = settings(SEEDED, figures)
    size, timing, cost = usual_resolution(given), mock_timing(given), prior_cost(given)
    for rows in range(1, 9):
        assert cost.seconds(rows) == timing.seconds(rows=rows, width=size.width, height=size.height, frames=4)


def test_a_model_that_nobody_measured_has_a_careful_prior_and_no_mock() -> None:
    given = settings(UNHEARD_OF)
    assert prior_cost(given) == UNMEASURED
    with pytest.raises(UnknownProfile, match="no profile of mine on 1x NVIDIA-L4"):
        mock_timing(given)


def test_a_model_that_was_measured_elsewhere_lends_its_size_but_not_its_speed() -> None:
    given = settings(["--model", "wan2.1-14b", "--gpu-product", "NVIDIA-L4", "--gpus", "1"])
    assert usual_resolution(given) == WIDE
    assert prior_cost(given) == UNMEASURED


def test_an_instant_mock_needs_no_figures() -> None:
    given = settings([*UNHEARD_OF, "--instant", "yes"])
    assert mock_timing(given).seconds(rows=4, width=512, height=512, frames=4) == 0


def test_the_warm_up_is_a_session_like_most() -> None:
    plan = warm_up_settings(settings(SEEDED))
    assert (plan.prompt, plan.frame_rate, plan.steps) == ("watercolour", 16, MODE_DEFAULTS[QualityMode.BALANCED].steps)
    assert (plan.width, plan.height, plan.text_only) == (832, 480, False)


def test_sessions_may_come_at_every_size_that_was_measured_either_way_round() -> None:
    plan = warm_up_plan(settings(UNHEARD_OF, OWN))
    assert [str(size) for size in plan.sizes] == ["512x512", "256x256"]
    assert (plan.settings.width, plan.settings.height) == (512, 512)
    assert [str(size) for size in offered_sizes(settings(SEEDED))] == ["832x480", "512x512", "480x832"]
    assert [str(size) for size in offered_sizes(settings(UNHEARD_OF))] == ["832x480", "480x832"]


def test_published_figures_of_several_gpus_are_no_prior_of_the_diffusion_engine() -> None:
    several = [*SEEDED[:-1], "4"]
    assert prior_cost(settings(several)) != UNMEASURED
    one_gpu = settings([*SEEDED, "--engine", "diffusion"])
    assert prior_cost(one_gpu).seconds(2) == pytest.approx(4 / 17.97, rel=0.02)


def test_a_larger_picture_takes_the_mock_longer_in_proportion() -> None:
    timing = mock_timing(settings(SEEDED))
    usual_s = timing.seconds(rows=2, width=832, height=480, frames=4)
    assert timing.seconds(rows=2, width=1664, height=480, frames=4) == pytest.approx(2 * usual_s)
    assert timing.seconds(rows=2, width=832, height=240, frames=4) == pytest.approx(usual_s / 2)


def test_what_was_published_of_one_engine_says_nothing_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def measured(_: object, *, engine: str | None, **_hardware: object) -> dict[Resolution, dict[int, float]]:
        asked.append(engine)
        return {WIDE: {1: 10.0}}

    monkeypatch.setattr(prior, "measured_fps", measured)
    prior_cost(settings(SEEDED))
    assert asked
    assert set(asked) == {"mock"}


def test_what_a_profile_promises_holds_for_the_sizes_that_were_measured_and_for_no_other() -> None:
    given = settings(UNHEARD_OF, OWN)
    assert promised_cost(given, SQUARE) == StepTime.from_fps({1: 10, 2: 8, 3: 6, 4: 5}, chunk_frames=4)
    assert promised_cost(given, WIDE) is None
    seeded = settings(SEEDED)
    tall = promised_cost(seeded, Resolution(width=480, height=832))
    assert tall is not None
    assert tall == promised_cost(seeded, WIDE), "turned it costs the same"


def test_a_slow_machine_is_slower_than_its_profile_promised_and_its_scheduler_finds_out() -> None:
    given = settings([*UNHEARD_OF, "--slowness", "1.5"], OWN)
    promised = promised_cost(given, SQUARE)
    assert promised is not None
    timing, learned = mock_timing(given), CostModel(prior_cost(given))
    shape = BatchShape("mine", 512, 512, 4)
    for number in range(60):
        rows = 1 + number % 4
        seconds = timing.seconds(rows=rows, width=512, height=512, frames=4)
        assert seconds == pytest.approx(1.5 * promised.seconds(rows))
        learned.observe(shape, rows, DeviceSeconds(rows=seconds))
    (told,) = learned.learned()
    assert told.cost.seconds(2) == pytest.approx(1.5 * promised.seconds(2), rel=0.02)


STEPS = '{"480x832":{"base":0.004,"row":0.011,"compute":0.012},"512x512":{"base":0.002,"row":0.007}}'


def told(measured_fps: str) -> WorkerSettings:
    figures = {"GENLOCK_WORKER_MEASURED_FPS": measured_fps, "GENLOCK_WORKER_MEASURED_STEP_TIME": STEPS}
    return parse_settings(UNHEARD_OF, figures)


def test_what_forwards_were_measured_to_take_comes_before_what_frames_per_second_let_guess() -> None:
    assert prior_cost(told('{"512x512":{"1":10}}')) == StepTime(0.002, 0.007)
    turned = prior_cost(told('{"832x480":{"1":10}}'))
    assert turned == StepTime(0.004, 0.011, 0.012), "either way round"
    assert prior_cost(told('{"256x256":{"1":10}}')) == StepTime.from_fps({1: 10}, chunk_frames=4)


def test_what_sessions_are_sized_by_stays_what_was_promised_of_them() -> None:
    assert promised_cost(told('{"512x512":{"1":10}}'), SQUARE) == StepTime.from_fps({1: 10}, chunk_frames=4)
