"""A row between its booking and its verdict: what of its session hangs on what the device will say."""

from dataclasses import dataclass

from genlock_worker.engines.diffusion.streaming.micro_step import QueuedRow
from genlock_worker.engines.diffusion.streaming.sinks import LeftChunk, PendingSink, SinkRule


@dataclass(frozen=True, slots=True, eq=False)
class UnjudgedRow:
    """A row that was booked, of which the session does not know the verdict."""

    row: QueuedRow
    left: LeftChunk | None
    """The chunk that left with it."""

    def decided(self, pending: PendingSink | None, rule: SinkRule) -> PendingSink | None:
        """What of the sinks is decided and not done by all after it, where it was `pending` before it.

        Only once the device has come to it. Raises ValueError if it is not finite.
        """
        if not self.row.is_finite:
            raise ValueError("the network's answer is not finite (NaN or infinite)")
        return pending if self.left is None else rule.after(pending, self.left, self.row.likeness)
