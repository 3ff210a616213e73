"""Which replica acts: a Lease that its holder renews every second and that another one takes four seconds later.

`LeaseCandidate` is the rule, pure: what to write, by what is there and since when it has not changed by our own clock.
No clocks of two machines are compared. (`kubernetes.aio.leaderelection` reads the wall clock, writes local times and
does not give the lease back.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from genlock_operator.kube.recorder import micro_time

DURATION_S: Final = 4.0
RENEW_EVERY_S: Final = 1.0
RETRY_EVERY_S: Final = 0.5
GIVE_UP_AFTER_S: Final = 3.0
"""A holder that could not renew for this long stops acting: a second before anybody else may begin."""


@dataclass(slots=True)
class LeaseCandidate:
    """One replica's view of the lease. `wanted` says what to write; `written` and `lost` tell it what became of that.

    Follower until `written` tells of its own spec; holder until `lost`, or until it writes `released`.
    """

    identity: str
    _seen: tuple[str, str, str] | None = None
    """Holder, time of renewal and transitions, as they were last read."""
    _since_s: float = 0.0
    """Since when they have been so."""
    _renewed_s: float | None = None
    """When we last wrote ourselves as the holder, None while we are not."""

    def holds(self, now_s: float) -> bool:
        """Whether we may act."""
        return self._renewed_s is not None and now_s - self._renewed_s < GIVE_UP_AFTER_S

    def wanted(self, spec: Mapping[str, Any] | None, *, now_s: float, wall_ms: int) -> dict[str, Any] | None:
        """The spec to write over `spec` (None: there is no lease), None to leave it alone."""
        spec = spec or {}
        holder = str(spec.get("holderIdentity") or "")
        seen = (holder, str(spec.get("renewTime")), str(spec.get("leaseTransitions")))
        if seen != self._seen:
            self._seen = seen
            self._since_s = now_s
        expired = now_s - self._since_s >= float(spec.get("leaseDurationSeconds") or DURATION_S)
        if holder not in ("", self.identity) and not expired:
            return None
        mine = holder == self.identity
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(DURATION_S),
            "acquireTime": spec.get("acquireTime") if mine and spec.get("acquireTime") else micro_time(wall_ms),
            "renewTime": micro_time(wall_ms),
            "leaseTransitions": int(spec.get("leaseTransitions") or 0) + (not mine),
        }

    def written(self, *, asked_s: float) -> None:
        """We are the holder as of when the request was sent."""
        self._renewed_s = asked_s

    def lost(self) -> None:
        """Another one is the holder."""
        self._renewed_s = None

    @staticmethod
    def released(spec: Mapping[str, Any], *, wall_ms: int) -> dict[str, Any]:
        """The spec that lets anybody take over at once."""
        return {**spec, "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": micro_time(wall_ms)}
