"""What is known of a model before this worker has run it: how fast it should be, and which sessions it will serve."""

from genlock_core.sizing.profile import UnknownProfile, load_profiles, step_fps
from genlock_core.spec.session import MODE_DEFAULTS, QualityMode, Resolution
from genlock_worker.cost_model import LinearCost
from genlock_worker.engine import StreamSettings
from genlock_worker.engines.mock.timing import StepTiming
from genlock_worker.settings import WorkerSettings

UNMEASURED = LinearCost(base_s=0.1, row_s=0.05)
"""The cost of a model that nobody measured here: rows are not free, so that nobody is made late for company's sake
before the first micro-steps have told."""


def usual_resolution(settings: WorkerSettings) -> Resolution:
    """That of the model's first profile row on this hardware, else anywhere, else the balanced mode's."""
    rows = [row for row in load_profiles() if row.model == settings.model]
    here = [row for row in rows if (row.gpu_product, row.gpus) == (settings.gpu_product, settings.gpus)]
    return next((row.resolution for row in [*here, *rows]), MODE_DEFAULTS[QualityMode.BALANCED].resolution)


def warm_up_settings(settings: WorkerSettings) -> StreamSettings:
    """A session like most."""
    mode, size = MODE_DEFAULTS[QualityMode.BALANCED], usual_resolution(settings)
    return StreamSettings("watercolour", mode.steps, size.width, size.height, frame_rate=16, seed=0, noise_scale=0.8)


def prior_cost(settings: WorkerSettings) -> LinearCost:
    """What the scheduler believes before it has seen a micro-step."""
    if settings.instant:
        return LinearCost(0.001, 0.001)
    try:
        return LinearCost.from_fps(_measured_fps(settings, usual_resolution(settings)))
    except UnknownProfile:
        return UNMEASURED


def mock_timing(settings: WorkerSettings) -> StepTiming:
    """How long the mock engine's micro-steps take. Raises UnknownProfile."""
    if settings.instant:
        return StepTiming.instant()
    size = usual_resolution(settings)
    return StepTiming.from_fps(_measured_fps(settings, size), width=size.width, height=size.height)


def _measured_fps(settings: WorkerSettings, resolution: Resolution) -> dict[int, float]:
    """Frames per second by steps. Raises UnknownProfile."""
    rows = load_profiles()
    return dict(
        step_fps(
            rows,
            model=settings.model,
            gpu_product=settings.gpu_product,
            gpus=settings.gpus,
            resolution=resolution,
        )
    )
