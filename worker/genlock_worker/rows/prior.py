"""What is known of a model before this worker has run it: how fast it should be, and which sessions it will serve.

The worker may have been started with what was measured on GPUs like its own (`settings.measured_fps`); then that alone
counts. Else the seed profiles count, which came with Genlock.
"""

from genlock_core.sizing.measured import FpsBySize, measured_fps, step_fps
from genlock_core.sizing.profile import UnknownProfile, load_profiles
from genlock_core.sizing.step_time import StepTime
from genlock_core.spec.session import MODE_DEFAULTS, QualityMode, Resolution
from genlock_worker.engines.contract import CHUNK_FRAMES, StreamSettings
from genlock_worker.engines.mock.timing import StepTiming
from genlock_worker.rows.warm_up import WarmUpPlan
from genlock_worker.settings import WorkerSettings

UNMEASURED = StepTime(base_s=0.1, row_s=0.05)
"""The cost of a model that was not measured here. Rows are not free in it: until the first batches show what a row
costs, no session is made late by sharing a forward."""


def usual_resolution(settings: WorkerSettings) -> Resolution:
    """The size of most sessions.

    It is the balanced mode's if the model was measured at it on this hardware; else the first at which it was measured
    here; else the first at which it was measured anywhere; else the balanced mode's again.
    """
    balanced = MODE_DEFAULTS[QualityMode.BALANCED].resolution
    here = _measured(settings)
    if balanced in here:
        return balanced
    anywhere = [row.resolution for row in load_profiles() if row.model == settings.model]
    return next(iter([*here, *anywhere]), balanced)


def offered_sizes(settings: WorkerSettings) -> tuple[Resolution, ...]:
    """Every size at which sessions may be sent here, the usual one first: what was measured, either way round.

    A profile row counts for a turned picture, too (`Resolution.is_alike`).
    """
    sizes = [usual_resolution(settings), *_measured(settings)]
    turned = [Resolution(width=size.height, height=size.width) for size in sizes]
    return tuple(dict.fromkeys([*sizes, *turned]))


def warm_up_plan(settings: WorkerSettings) -> WarmUpPlan:
    """What the engine runs before the worker is ready."""
    return WarmUpPlan(warm_up_settings(settings), offered_sizes(settings))


def warm_up_settings(settings: WorkerSettings) -> StreamSettings:
    """The settings of a session like most."""
    mode, size = MODE_DEFAULTS[QualityMode.BALANCED], usual_resolution(settings)
    return StreamSettings("watercolour", mode.steps, size.width, size.height, frame_rate=16, seed=0, noise_scale=0.8)


def prior_cost(settings: WorkerSettings) -> StepTime:
    """What the scheduler believes before it has seen a batch.

    What forwards were measured to take, where it was told that. Else the line through the frames per second, in which
    encoding and decoding count as the rows' own.
    """
    if settings.instant:
        return StepTime(0.001, 0.001)
    size = usual_resolution(settings)
    for measured_size, time in settings.measured_step_time.items():
        if measured_size.is_alike(size):
            return time
    measured = _measured(settings)
    if not measured:
        return UNMEASURED
    return StepTime.from_fps(step_fps(measured, size), chunk_frames=CHUNK_FRAMES)


def promised_cost(settings: WorkerSettings, size: Resolution) -> StepTime | None:
    """What the profile says of batches of this size, by which sessions are sized; None where nobody measured it."""
    for measured, fps in _measured(settings).items():
        if measured.is_alike(size):
            return StepTime.from_fps(fps, chunk_frames=CHUNK_FRAMES)
    return None


def mock_timing(settings: WorkerSettings) -> StepTiming:
    """How long the mock engine's batches take. Raises UnknownProfile."""
    if settings.instant:
        return StepTiming.instant()
    measured, size = _measured(settings), usual_resolution(settings)
    if not measured:
        raise UnknownProfile(
            f"no profile of {settings.model} on {settings.devices}x {settings.gpu_product}, which the mock engine "
            "takes its time from: a ModelProfile of that name needs rows of one session on them before the worker is "
            "made; with genlock up, name its file with --profile"
        )
    fps = {steps: fps / settings.slowness for steps, fps in step_fps(measured, size).items()}
    return StepTiming.from_fps(fps, width=size.width, height=size.height)


def _measured(settings: WorkerSettings) -> FpsBySize:
    """Frames per second of one session alone on this hardware; empty if it was not measured."""
    return settings.measured_fps or measured_fps(
        load_profiles(),
        engine=settings.engine,
        model=settings.model,
        gpu_product=settings.gpu_product,
        gpus=settings.devices,
        coders=settings.diffusion.load.coders,
    )
