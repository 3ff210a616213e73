"""The `autoscaling` of a WorkerPool: defaults, and mistakes that are refused at the edge."""

from typing import Any

import pytest
from pydantic import ValidationError

from genlock_core.spec.pool import PoolGpu, WorkerPoolSpec


def spec(**changes: Any) -> WorkerPoolSpec:
    return WorkerPoolSpec(model="wan2.1-1.3b", engine="mock", gpu=PoolGpu(product="NVIDIA-H100", count=1), **changes)


MORNING = {"from": "08:00", "to": "12:00", "min": 2}


def test_a_pool_follows_its_sessions_where_nothing_else_is_said() -> None:
    said = spec().autoscaling
    assert (said.mode, said.blocking, said.schedule, said.time_zone, said.weight) == ("SLO", 0.01, [], "UTC", 1)


@pytest.mark.parametrize(
    ("autoscaling", "why"),
    [
        ({"blocking": "0%"}, "must lie between 0.1% and 50%"),
        ({"blocking": "51%"}, "must lie between 0.1% and 50%"),
        ({"blocking": 0.01}, "must be a percentage"),
        ({"mode": "Auto"}, "'SLO', 'External' or 'Recommend'"),
        ({"weight": 0}, "greater than or equal to 1"),
        ({"timeZone": "Mars/Olympus"}, "must be a time zone of the IANA database"),
        ({"timeZone": "../../etc/passwd"}, "should match pattern"),
        ({"schedule": [MORNING | {"from": "8:00"}]}, "should match pattern"),
        ({"schedule": [MORNING | {"days": ["Monday"]}]}, "'Mon'"),
        ({"schedule": [MORNING | {"to": "08:00"}]}, "must not begin and end at the same time"),
        ({"schedule": [MORNING | {"min": 17}]}, "must not ask for more workers than max"),
    ],
)
def test_autoscaling_that_cannot_be_is_refused(autoscaling: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        spec(autoscaling=autoscaling)


def test_a_schedule_is_written_as_it_is_read() -> None:
    written = {"schedule": [MORNING | {"days": ["Sat"]}], "timeZone": "Europe/Berlin", "blocking": "5%"}
    said = spec(autoscaling=written).autoscaling.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    assert said == written
