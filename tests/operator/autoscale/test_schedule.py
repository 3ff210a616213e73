"""Floors by the time of the week."""

from datetime import UTC, datetime

import pytest

from genlock_core.spec.autoscaling import Autoscaling
from genlock_operator.autoscale.schedule import scheduled_floor

WORKDAYS = {"from": "08:00", "to": "18:30", "days": ["Mon", "Tue", "Wed", "Thu", "Fri"], "min": 4}
NIGHT = {"from": "22:00", "to": "02:00", "days": ["Sat"], "min": 2}


def floor_at(when: str, *schedule: object, zone: str = "UTC") -> int:
    spec = Autoscaling.model_validate({"schedule": list(schedule), "timeZone": zone})
    return scheduled_floor(spec, int(datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp() * 1_000))


@pytest.mark.parametrize(
    ("when", "workers"),
    [
        ("2026-11-27T07:59:59", 0),
        ("2026-11-27T08:00:00", 4),
        ("2026-11-27T18:29:59", 4),
        ("2026-11-27T18:30:00", 0),
        ("2026-11-28T12:00:00", 0),  # a Saturday
        ("2026-11-28T22:00:00", 2),
        ("2026-11-29T01:59:00", 2),  # it began on Saturday
        ("2026-11-29T02:00:00", 0),
        ("2026-11-29T23:00:00", 0),
        ("2026-11-28T01:00:00", 0),
    ],
)
def test_it_holds_from_then_to_then_on_its_days(when: str, workers: int) -> None:
    assert floor_at(when, WORKDAYS, NIGHT) == workers


def test_it_goes_by_its_time_zone_summer_and_winter() -> None:
    assert floor_at("2026-07-01T06:30:00", WORKDAYS, zone="Europe/Berlin") == 4
    assert floor_at("2026-12-01T06:30:00", WORKDAYS, zone="Europe/Berlin") == 0


def test_the_largest_of_several_counts_and_a_whole_day_is_one() -> None:
    assert floor_at("2026-11-27T12:00:00", WORKDAYS, {"from": "00:00", "to": "24:00", "min": 9}) == 9
