"""How a pool's number of workers is found: the `autoscaling` of a WorkerPool."""

from enum import StrEnum
from typing import Annotated, Final, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from genlock_core.spec.quantities import ShareBetween
from genlock_core.spec.rules import POOL_RULES
from genlock_core.spec.session import Model, checked

MAX_WORKERS: Final = 1_000
TIME_OF_DAY: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
END_OF_DAY: Final = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"

ZONE: Final = r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$"
"""What the API server asks of the name of a time zone: which ones it knows depends on how it was built."""


class ScalingMode(StrEnum):
    """Who decides how many workers there are."""

    SLO = "SLO"
    """What sessions need, and what keeps arrivals from being turned away while a worker starts."""
    EXTERNAL = "External"
    """`replicas` alone, between min and max: an HPA, KEDA or a person."""
    RECOMMEND = "Recommend"
    """What sessions need, and `buffer`; what SLO would do is only shown."""


class Day(StrEnum):
    """Of the week, in the order of `datetime.weekday`."""

    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"


def known_zone(name: str) -> str:
    """The name of a time zone that is known here. Raises ValueError."""
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError("must be a time zone of the IANA database, such as UTC or Europe/Berlin") from error
    return name


class ScheduledFloor(Model):
    """Never fewer workers than this at certain times of the week."""

    # On the wire two of its fields are called as words of Python's own.
    model_config = ConfigDict(alias_generator=lambda name: to_camel(name.rstrip("_")))

    from_: Annotated[str, Field(pattern=TIME_OF_DAY, max_length=5)] = Field(
        description="When it begins, such as 08:00."
    )
    to: Annotated[str, Field(pattern=END_OF_DAY, max_length=5)] = Field(
        description="When it ends, such as 18:30 or 24:00; before `from`: on the next day."
    )
    days: list[Day] = Field(
        default_factory=list, max_length=7, description="The days on which it begins; left out: every day."
    )
    min: Annotated[int, Field(ge=0, le=MAX_WORKERS)] = Field(description="Workers to keep at least.")


class Autoscaling(Model):
    """How the number of workers is found."""

    mode: ScalingMode = Field(
        ScalingMode.SLO,
        description="SLO: what sessions need, and enough besides for those who come while a worker starts; External: "
        "replicas alone decides, between min and max; Recommend: what sessions need and buffer. With both of them what "
        "SLO would do is shown.",
    )
    blocking: Annotated[float, ShareBetween(0.001, 0.5)] = Field(
        0.01, description="Share of the times at which a worker starts that may find too little room for who arrives."
    )
    schedule: list[ScheduledFloor] = Field(
        default_factory=list, max_length=16, description="Times at which there are never fewer workers than so many."
    )
    time_zone: Annotated[str, Field(pattern=ZONE, max_length=64), AfterValidator(known_zone)] = Field(
        "UTC", description="The time zone of the schedule, by its IANA name, such as Europe/Berlin."
    )
    weight: Annotated[int, Field(ge=1, le=1_000)] = Field(
        1, description="This pool's part of a GPU budget that all pools of the product share."
    )

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> Self:
        return checked(self, ("autoscaling",), POOL_RULES)
