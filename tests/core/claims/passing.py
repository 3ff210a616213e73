"""Time as the claims know it: how a test lets it pass, and the rule of `scripts/proven_time.lua` in Python."""

from dataclasses import dataclass

from genlock_core.claims import liveness
from genlock_core.claims.claims import Claims
from genlock_core.clock import ManualClock

STEP_MS = 500


async def time_passes(claims: Claims, clock: ManualClock, seconds: float) -> None:
    """Both clocks move on; somebody asks Redis every half second, as a gateway does, and it takes writes."""
    left_ms = round(seconds * 1_000)
    while left_ms:
        step_ms = min(left_ms, STEP_MS) if left_ms % STEP_MS == 0 or left_ms < STEP_MS else left_ms % STEP_MS
        left_ms -= step_ms
        clock.advance(step_ms / 1_000)
        await claims.worker("nobody")


@dataclass
class ProvenTime:
    """What Redis holds of its time, and may lose."""

    proven_ms: int | None = None
    seen_ms: int = 0

    def prove(self, wall_ms: int) -> bool:
        """A script runs when Redis' clock shows `wall_ms`, and may write. True if nobody could for long."""
        before, seen_ms = self.proven_ms, self.seen_ms
        if before is None:
            self.proven_ms, self.seen_ms = wall_ms, wall_ms
            return False
        if 0 <= wall_ms - seen_ms < liveness.PROOF_EVERY_MS:
            return False
        passed_ms = max(0, min(wall_ms - seen_ms, liveness.PROOF_MS))
        most_ms = passed_ms // liveness.CATCHES_UP_IN
        behind_ms = wall_ms - (before + passed_ms)
        self.proven_ms = before + passed_ms + max(-most_ms, min(most_ms, behind_ms))
        self.seen_ms = wall_ms
        return wall_ms - seen_ms > liveness.STALLED_MS
