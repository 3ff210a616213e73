"""What the watches have told, and what our own writes were answered: the newer of both, by object.

So a plan never works on a status that it has itself replaced a moment ago, and its patches carry the resourceVersion
that is really there.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from genlock_core.sizing.profile import ProfileRow
from genlock_operator.observed import Meta, NodeFacts, PodFacts, PoolResource, SessionResource

_REMEMBERED_UIDS = 10_000


class HasMeta(Protocol):
    """Anything that the API server stores."""

    @property
    def meta(self) -> Meta: ...


F = TypeVar("F", bound=HasMeta)


@dataclass(frozen=True, slots=True)
class Profile:
    """A ModelProfile's rows."""

    meta: Meta
    rows: tuple[ProfileRow, ...]


@dataclass(frozen=True, slots=True)
class Mistaken:
    """An object that cannot be read."""

    meta: Meta
    mistakes: tuple[str, ...]


class Kept(Generic[F]):
    """The newest facts of one kind, by `namespace/name`. `changes` counts on whenever they are others."""

    def __init__(self) -> None:
        self._facts: dict[str, F] = {}
        self.changes = 0
        self._gone: OrderedDict[str, None] = OrderedDict()  # uids; a late answer must not bring one back

    def __iter__(self) -> Iterator[F]:
        return iter(list(self._facts.values()))

    def __len__(self) -> int:
        return len(self._facts)

    def get(self, key: str) -> F | None:
        return self._facts.get(key)

    def keys(self) -> list[str]:
        return list(self._facts)

    def put(self, fact: F) -> bool:
        """Take the fact in, unless a newer one of the same object is there; whether it is there now."""
        meta = fact.meta
        known = self._facts.get(meta.key)
        if meta.uid in self._gone or (known is not None and _is_older(meta, known.meta)):
            return False
        self._facts[meta.key] = fact
        self.changes += 1
        return True

    def drop(self, key: str, uid: str) -> bool:
        """The object of that uid is gone; whether it was known."""
        self._gone[uid] = None
        if len(self._gone) > _REMEMBERED_UIDS:
            self._gone.popitem(last=False)
        known = self._facts.get(key)
        if known is None or known.meta.uid != uid:
            return False
        del self._facts[key]
        self.changes += 1
        return True


def _is_older(meta: Meta, known: Meta) -> bool:
    """Whether `known` is of a later moment. Resource versions are ordered numbers; what is none counts as newer."""
    try:
        return int(meta.resource_version) < int(known.resource_version)
    except ValueError:
        return False


@dataclass(slots=True)
class Caches:
    """Everything that is watched. `watch.watcher` fills it, the reconcilers add what their writes were answered."""

    sessions: Kept[SessionResource] = field(default_factory=Kept)
    pools: Kept[PoolResource] = field(default_factory=Kept)
    profiles: Kept[Profile] = field(default_factory=Kept)
    pods: Kept[PodFacts] = field(default_factory=Kept)
    nodes: dict[str, NodeFacts] = field(default_factory=dict)
    mistaken: dict[str, Mistaken] = field(default_factory=dict)
    """Pools that cannot be read, by name."""

    def pods_of(self, pool: str) -> tuple[PodFacts, ...]:
        """The pool's worker and placeholder pods, by name."""
        return tuple(sorted((pod for pod in self.pods if pod.pool == pool), key=lambda pod: pod.meta.name))
