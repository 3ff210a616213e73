"""Every reason of a condition or an Event has its row in the platform team's guide, and every row its reason."""

import re
from pathlib import Path

from genlock_operator.reasons import EventReason, PoolReason, Reason

PAGE = Path(__file__).resolve().parents[2] / "docs" / "kubernetes.md"
ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)


def rows(title: str) -> set[str]:
    """The first column of the table under a heading."""
    _, _, rest = PAGE.read_text().partition(f"### {title}\n")
    return set(ROW.findall(rest.split("\n#", 1)[0]))


def test_every_reason_of_a_session_is_explained() -> None:
    assert rows("Reasons of a StreamSession") == {reason.value for reason in Reason}


def test_every_reason_of_a_pool_is_explained() -> None:
    assert rows("Reasons of a WorkerPool") == {reason.value for reason in PoolReason}


def test_every_event_is_explained() -> None:
    assert rows("Events") == {reason.value for reason in EventReason}
