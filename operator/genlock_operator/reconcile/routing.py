"""Whose plan a change of an object of the API server concerns."""

from collections.abc import Callable
from dataclasses import dataclass, field

from genlock_operator.kube.api import MODEL_PROFILES, NODES, PODS, STREAM_SESSIONS, WORKER_POOLS, Resource
from genlock_operator.reconcile.pending import PendingSessions
from genlock_operator.reconcile.placing import offer_of
from genlock_operator.reconcile.queue import WorkQueue, pool_key, session_key
from genlock_operator.watch.caches import Caches


@dataclass(slots=True)
class Router:
    """`changed` queues the keys. It remembers what sessions were placed by: most changes of a pool are its status."""

    caches: Caches
    pending: PendingSessions
    queue: WorkQueue
    heard: Callable[[Resource, str], None]
    """Told of every change before it is queued: the time to a session's first worker is measured from here."""
    _placed_by: dict[str, object] = field(default_factory=dict)
    """What placement read of each pool and profile when it was last seen."""
    _pod_pools: dict[str, str] = field(default_factory=dict)
    """The pool of each pod, to know whose it was when it is gone."""

    def changed(self, resource: Resource, key: str) -> None:
        """An object of that name changed, came or went."""
        self.heard(resource, key)
        match resource:
            case _ if resource == STREAM_SESSIONS:
                self.queue.add(session_key(key))
            case _ if resource == PODS:
                self._pod_changed(key)
            case _ if resource == WORKER_POOLS:
                self.queue.add(pool_key(key))
                pool = self.caches.pools.get(key)
                self._maybe_place_anew(f"pool {key}", pool and offer_of(pool))
            case _ if resource == MODEL_PROFILES:
                profile = self.caches.profiles.get(key)
                self._maybe_place_anew(f"profile {key}", profile and (profile.meta.uid, profile.rows))
            case _ if resource == NODES:
                for one in self.caches.pools:
                    self.queue.add(pool_key(one.meta.key))

    def _pod_changed(self, key: str) -> None:
        pod = self.caches.pods.get(key)
        pool = self._pod_pools.pop(key, None) if pod is None else pod.pool
        if pod is not None:
            self._pod_pools[key] = pod.pool
        if pool is not None:
            self.queue.add(pool_key(pool))

    def _maybe_place_anew(self, what: str, read: object) -> None:
        """Plan every session again if what placement reads of a pool or profile is another."""
        if self._placed_by.get(what) == read:
            return
        if read is None:
            del self._placed_by[what]
        else:
            self._placed_by[what] = read
        self.place_anew()

    def place_anew(self) -> None:
        """Plan every session again; who waits comes first."""
        for session in self.pending.names():
            self.queue.add(session_key(session))
        for known in self.caches.sessions:
            self.queue.add(session_key(known.meta.key))
