"""Whose plan a change of an object of the API server concerns."""

from dataclasses import dataclass, field

from genlock_operator.kube.api import MODEL_PROFILES, NODES, PODS, STREAM_SESSIONS, WORKER_POOLS, Resource
from genlock_operator.reconcile import keys
from genlock_operator.reconcile.pending import PendingSessions
from genlock_operator.reconcile.placing import offer_of
from genlock_operator.reconcile.queue import WorkQueue
from genlock_operator.watch.caches import Caches


@dataclass(slots=True)
class Router:
    """`changed` queues the keys. It remembers what sessions were placed by: most changes of a pool are its status."""

    caches: Caches
    waiting: PendingSessions
    queue: WorkQueue
    _placed_by: dict[str, object] = field(default_factory=dict)
    """What placement read of each pool and profile when it was last seen."""
    _pod_pools: dict[str, str] = field(default_factory=dict)

    def changed(self, resource: Resource, key: str) -> None:
        """An object of that name changed, came or went."""
        match resource:
            case _ if resource == STREAM_SESSIONS:
                self.queue.add(keys.session(key))
            case _ if resource == PODS:
                self._pod_changed(key)
            case _ if resource == WORKER_POOLS:
                self.queue.add(keys.pool(key))
                pool = self.caches.pools.get(key)
                self._maybe_place_anew(f"pool {key}", pool and offer_of(pool))
            case _ if resource == MODEL_PROFILES:
                profile = self.caches.profiles.get(key)
                self._maybe_place_anew(f"profile {key}", profile and (profile.meta.uid, profile.rows))
            case _ if resource == NODES:
                for one in self.caches.pools:
                    self.queue.add(keys.pool(one.meta.key))

    def _pod_changed(self, key: str) -> None:
        pod = self.caches.pods.get(key)
        pool = self._pod_pools.pop(key, None) if pod is None else pod.pool
        if pod is not None:
            self._pod_pools[key] = pod.pool
        if pool is not None:
            self.queue.add(keys.pool(pool))

    def _maybe_place_anew(self, what: str, read: object) -> None:
        if self._placed_by.get(what) == read:
            return
        if read is None:
            del self._placed_by[what]
        else:
            self._placed_by[what] = read
        for session in self.waiting.waiting():
            self.queue.add(keys.session(session))
        for known in self.caches.sessions:
            self.queue.add(keys.session(known.meta.key))
