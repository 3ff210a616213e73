"""Floors by the time of the week: so many workers at least from 08:00 to 18:00 on working days."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from genlock_core.spec.autoscaling import Autoscaling, Day, ScheduledFloor

_DAYS = tuple(Day)


def scheduled_floor(spec: Autoscaling, now_ms: int) -> int:
    """Workers that the schedule keeps now (ms since the epoch); 0 where it says nothing."""
    if not spec.schedule:
        return 0
    local = datetime.fromtimestamp(now_ms / 1_000, ZoneInfo(spec.time_zone))
    return max((one.min for one in spec.schedule if _holds(one, local)), default=0)


def _holds(floor: ScheduledFloor, local: datetime) -> bool:
    begins = _minutes(floor.from_)
    ends = _minutes(floor.to)
    now = local.hour * 60 + local.minute
    if begins < ends:
        return begins <= now < ends and _begins_on(floor, local)

    # It goes on past midnight: after that it belongs to the day before.
    if now >= begins:
        return _begins_on(floor, local)
    return now < ends and _begins_on(floor, local - timedelta(days=1))


def _begins_on(floor: ScheduledFloor, day: datetime) -> bool:
    return not floor.days or _DAYS[day.weekday()] in floor.days


def _minutes(time_of_day: str) -> int:
    """Since midnight."""
    hours, minutes = time_of_day.split(":")
    return int(hours) * 60 + int(minutes)
