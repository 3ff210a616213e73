"""kopf without a memory of what it handled last: it compares nothing, as no handler of ours asks for differences.

kopf builds the essence of an object (deep copies of it) at every event, whether or not anybody wants it: half of what
an event costs.
"""

from collections.abc import Iterable
from typing import Any, cast

from kopf import BodyEssence, DiffBaseStorage


class NoDifferences(DiffBaseStorage):
    """Every object is alike, and was never handled."""

    def build(self, *, body: Any, extra_fields: Iterable[Any] | None = None) -> BodyEssence:  # noqa: ARG002 - kopf's
        return cast("BodyEssence", {})

    def fetch(self, *, body: Any) -> BodyEssence | None:  # noqa: ARG002 - kopf's
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        """Nothing is kept."""
