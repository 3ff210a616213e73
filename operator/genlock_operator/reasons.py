"""Reasons of conditions and Events: one word for programs each, and what a person should do about it.

docs/kubernetes.md explains every one of them; a test holds the page to this list.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why a StreamSession's condition is what it is."""

    # Placed
    FITS = "Fits"  # some pool serves it in time
    INVALID = "Invalid"  # the spec cannot be read (an older CRD let it in)
    NO_PROFILE = "NoProfile"  # nobody measured the model
    NO_POOL = "NoPool"  # no pool has the model, or none that serves this namespace
    NO_POOL_OF_SHAPE = "NoPoolOfShape"  # pools have the model, but none meets the service levels
    # Assigned
    CLAIMED = "Claimed"  # a worker owns it
    POOL_FULL = "PoolFull"  # every worker is full and the pool is at its max
    OVERLOADED = "Overloaded"  # workers have room, and cannot do what they have
    QUOTA_EXCEEDED = "QuotaExceeded"  # the pool may not create pods: a ResourceQuota
    INSUFFICIENT_GPUS = "InsufficientGPUs"  # the pool's new workers find no node with free GPUs
    WORKERS_STARTING = "WorkersStarting"  # a worker is on its way
    WORKERS_FAILING = "WorkersFailing"  # the pool's workers do not start
    NEEDS_MOVE = "NeedsMove"  # it serves on, but a change of the spec waits for room of another shape
    STORE_AWAY = "StoreAway"  # Redis does not answer
    NOT_CLAIMED = "NotClaimed"  # not tried yet
    # Live
    STREAMING = "Streaming"  # frames reach the gateways
    NO_SOURCE = "NoSource"  # a worker has it, nobody publishes yet
    RECOVERING = "Recovering"  # it moves to another worker
    FINISHED = "Finished"  # it ended
    # SourceUsable
    USABLE = "Usable"  # pictures are made of what is published again
    NO_KEY_FRAME = "NoKeyFrame"  # nothing came that a decoder can start with
    NO_PARAMETER_SETS = "NoParameterSets"  # H264 without the SPS or PPS that it refers to
    UNSUPPORTED_PROFILE = "UnsupportedProfile"  # H264 of a profile that workers do not decode
    ENCRYPTED = "Encrypted"  # packets that their keys do not open
    UNDECODABLE = "Undecodable"  # pictures that are broken, or encrypted end to end
    NOT_PUBLISHED = "NotPublished"  # who was in trouble has gone
    # SnapshotsStored
    STORED = "Stored"  # there is room again
    NO_SNAPSHOT_ROOM = "NoSnapshotRoom"  # the budget of all snapshots has none
    # SloMet
    IN_BUDGET = "InBudget"
    TOO_LATE = "TooLate"  # more late frames than the miss budget, over two windows
    NOT_MEASURED = "NotMeasured"


class PoolReason(StrEnum):
    """Why a WorkerPool's condition is what it is."""

    READY = "Ready"
    TOO_FEW = "TooFew"
    STARTING = "Starting"
    ROLLING_OUT = "RollingOut"
    DRAINING = "Draining"
    DRAIN_OVERDUE = "DrainOverdue"  # sessions of a leaving worker find no room elsewhere
    STALLED = "Stalled"  # new workers do not get ready; the old ones serve on
    SETTLED = "Settled"
    AT_MAX = "AtMax"
    QUOTA_EXCEEDED = "QuotaExceeded"
    INSUFFICIENT_GPUS = "InsufficientGPUs"
    WORKERS_FAILING = "WorkersFailing"
    GPU_BUDGET = "GPUBudget"  # the other pools of the budget have the rest
    UNLIMITED = "Unlimited"
    METRICS_STALE = "MetricsStale"  # nobody can say who comes and goes: nobody leaves
    METRICS_FRESH = "MetricsFresh"
    TOO_MANY = "TooMany"  # workers, that go once it has lasted
    ENOUGH = "Enough"
    INVALID = "Invalid"


class EventReason(StrEnum):
    """Reasons of Events that are no conditions."""

    ASSIGNED = "Assigned"
    MOVED = "Moved"
    STEERED = "Steered"  # a spec change reached the stream
    ENDED = "Ended"
    WORKER_CREATED = "WorkerCreated"
    WORKER_DRAINING = "WorkerDraining"
    WORKER_DELETED = "WorkerDeleted"
