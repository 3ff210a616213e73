import pytest

from genlock_core.approximation.levels import Level
from genlock_core.approximation.quality import prior_quality
from genlock_core.spec.session import SessionKey, StreamSessionSpec, resolve


@pytest.mark.parametrize(("level", "quality"), [(Level(4, 16), 1.0), (Level(1, 16), 0.25), (Level(1, 8), 0.125)])
def test_the_prior_goes_by_steps_and_by_the_frames_that_are_shown(level: Level, quality: float) -> None:
    asked = resolve(SessionKey(name="demo"), StreamSessionSpec(steps=4))
    assert prior_quality(level, asked) == quality
