"""What the users of a session want now: its spec, overlaid by the last value of every control field."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from genlock_core.claims.record import ControlValue
from genlock_core.spec.session import ResolvedSession
from genlock_core.stream_state.control import FIRST_ID, ControlChange, ControlEntry, entry_order
from genlock_worker.engines.contract import Change


@dataclass(frozen=True, slots=True)
class RequestedSettings:
    """Prompt, steps, noise scale, pause, last reset, and the id of the last control entry that went into them."""

    prompt: str
    steps: int
    noise_scale: float
    paused: bool = False
    control_id: str = FIRST_ID
    reset_id: str = FIRST_ID
    """The entry that asked for a fresh start, the last of them."""

    @classmethod
    def of(cls, session: ResolvedSession, control: Mapping[str, ControlValue]) -> Self:
        """From the record alone. A value that this version cannot read is left out."""
        requested = cls(session.prompt, session.steps, session.noise_scale)
        for field, value in control.items():
            try:
                requested = requested.changed(ControlChange.from_fields({field: value.value}), value.id)
            except ValueError:  # pydantic's, and an id that is none
                continue
        return requested

    def changed(self, change: ControlChange, entry_id: str) -> Self:
        return replace(
            self,
            prompt=self.prompt if change.prompt is None else change.prompt,
            steps=self.steps if change.steps is None else change.steps,
            noise_scale=self.noise_scale if change.noise_scale is None else change.noise_scale,
            paused=self.paused if change.paused is None else change.paused,
            reset_id=max(self.reset_id, entry_id, key=entry_order) if change.reset else self.reset_id,
        )

    def outdate(self, control_id: str) -> bool:
        """Whether a fresh start was asked for later than this entry: a state that goes back to it counts no more."""
        return entry_order(self.reset_id) > entry_order(control_id)

    def after(self, entries: Iterable[ControlEntry]) -> Self:
        """With entries of the control stream, in their order."""
        requested = self
        for entry in entries:
            requested = replace(requested.changed(entry.change, entry.id), control_id=entry.id)
        return requested

    def as_control(self) -> dict[str, ControlValue]:
        """The values in the form of the record."""
        change = ControlChange(prompt=self.prompt, steps=self.steps, noise_scale=self.noise_scale, paused=self.paused)
        control = {field: ControlValue(value, self.control_id) for field, value in change.to_fields().items()}
        if self.reset_id != FIRST_ID:
            control["reset"] = ControlValue("true", self.reset_id)
        return control

    def difference(self, before: "RequestedSettings") -> Change:
        """What the engine must be told if it knows `before`."""
        return Change(
            prompt=self.prompt if self.prompt != before.prompt else None,
            steps=self.steps if self.steps != before.steps else None,
            noise_scale=self.noise_scale if self.noise_scale != before.noise_scale else None,
            reset=self.reset_id if self.reset_id != before.reset_id else None,
        )
