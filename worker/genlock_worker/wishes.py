"""What the users of a session want now: its spec, overlaid by the last value of every control field."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from pydantic import ValidationError

from genlock_core.claims.record import ControlValue
from genlock_core.spec.session import ResolvedSession
from genlock_core.stream_state.control import FIRST_ID, ControlChange, ControlEntry
from genlock_worker.engine import Change


@dataclass(frozen=True, slots=True)
class Wishes:
    """Prompt, steps, noise scale and pause, and the id of the last control entry that went into them."""

    prompt: str
    steps: int
    noise_scale: float
    paused: bool = False
    control_id: str = FIRST_ID

    @classmethod
    def of(cls, session: ResolvedSession, control: Mapping[str, ControlValue]) -> Self:
        """From the record alone. A value that this version cannot read is left out."""
        wishes = cls(session.prompt, session.steps, session.noise_scale)
        for field, value in control.items():
            try:
                wishes = wishes.changed(ControlChange.from_fields({field: value.value}))
            except ValidationError:
                continue
        return wishes

    def changed(self, change: ControlChange) -> Self:
        return replace(
            self,
            prompt=self.prompt if change.prompt is None else change.prompt,
            steps=self.steps if change.steps is None else change.steps,
            noise_scale=self.noise_scale if change.noise_scale is None else change.noise_scale,
            paused=self.paused if change.paused is None else change.paused,
        )

    def after(self, entries: Iterable[ControlEntry]) -> Self:
        """With entries of the control stream, in their order."""
        wishes = self
        for entry in entries:
            wishes = replace(wishes.changed(entry.change), control_id=entry.id)
        return wishes

    def as_control(self) -> dict[str, ControlValue]:
        """The values in the form of the record."""
        change = ControlChange(prompt=self.prompt, steps=self.steps, noise_scale=self.noise_scale, paused=self.paused)
        return {field: ControlValue(value, self.control_id) for field, value in change.to_fields().items()}

    def difference(self, before: "Wishes") -> Change:
        """What the engine must be told if it knows `before`."""
        return Change(
            prompt=self.prompt if self.prompt != before.prompt else None,
            steps=self.steps if self.steps != before.steps else None,
            noise_scale=self.noise_scale if self.noise_scale != before.noise_scale else None,
        )
