"""kopf as a watch machine and nothing else: indexing functions fill our caches, event handlers name what changed.

kopf lists, watches, reconnects and orders the events of each object; no handler runs before everything is listed. It
gets no finalizers, patches, timers, annotations or peering to do. What it cannot tell is an object that went while a
watch was broken: when it lists anew, and every few minutes, `sweep` compares what is kept with what is there.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import kopf
from kubernetes.aio.client import Configuration

from genlock_core.clock import Clock
from genlock_operator.kube import credentials
from genlock_operator.kube.api import LEASES, MODEL_PROFILES, NODES, PODS, STREAM_SESSIONS, WORKER_POOLS, KubeApi
from genlock_operator.kube.api import Resource as KubeResource
from genlock_operator.plan.policy import ROLE_LABEL
from genlock_operator.watch import facts
from genlock_operator.watch.caches import Caches, Kept, Mistaken, Profile
from genlock_operator.watch.no_history import NoDifferences

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S: Final = 5.0
REQUEST_TIMEOUT_S: Final = 60.0
INACTIVITY_S: Final = 70.0
"""Streams carry bookmarks about every minute; one that carries nothing for this long is dead."""
CHUNK: Final = 500
IDLE_TIMEOUT_S: Final = 0.5
"""kopf's task for an object ends after this long without an event of it."""

STOP_S: Final = 2.0

Changed = Callable[[KubeResource, str], None]
"""Told of every object that changed or went, by its resource and `namespace/name`."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What is watched: these namespaces (None: all), and where the lease lies that proves that watching works."""

    namespaces: tuple[str, ...] | None
    lease_namespace: str
    lease_name: str
    nodes: bool = False

    def covers(self, key: str) -> bool:
        """Whether the object `namespace/name` is ours."""
        return self.namespaces is None or key.partition("/")[0] in self.namespaces


@dataclass(slots=True)
class Watcher:
    """Keeps `caches` true from `run` on. `synced` is set once everything was listed."""

    scope: Scope
    caches: Caches
    clock: Clock
    changed: Changed
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    listed_anew: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a watch had to begin again with a list: something may have gone unseen."""
    _heard_s: float | None = None

    def age_s(self) -> float | None:
        """Seconds since the lease, which changes every second, was last heard of through a watch."""
        return None if self._heard_s is None else self.clock.monotonic() - self._heard_s

    async def run(self, configuration: Configuration, *, spawned: Callable[[], None] = lambda: None) -> None:
        """Watch until cancelled. Raises what ended it otherwise; `spawned` is called once kopf has set its signal
        handlers.

        kopf's own way to stop would cancel every task of the loop that is younger than itself.
        """
        registry = kopf.OperatorRegistry()
        self._register(registry, configuration)
        where: dict[str, Any] = (
            {"clusterwide": True} if self.scope.namespaces is None else {"namespaces": list(self.scope.namespaces)}
        )
        # Left out, kopf would ask for the name of the process' user, and in an image users have no names.
        where["identity"] = socket.gethostname()
        tasks = await kopf.spawn_tasks(registry=registry, settings=self._settings(), standalone=True, **where)
        spawned()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=STOP_S)

    async def sweep(self, api: KubeApi) -> None:
        """Drop what is kept and is not there any more. Raises KubeError."""
        kept: list[tuple[KubeResource, Kept[Any], str]] = [
            (STREAM_SESSIONS, self.caches.sessions, ""),
            (WORKER_POOLS, self.caches.pools, ""),
            (MODEL_PROFILES, self.caches.profiles, ""),
            (PODS, self.caches.pods, ROLE_LABEL),
        ]
        for resource, cache, labels in kept:
            before = {fact.meta.key: fact.meta.uid for fact in cache}
            there: dict[str, str] = {}
            for namespace in self.scope.namespaces or (None,):
                there |= await api.list_names(resource, namespace, labels=labels)
            for key, uid in before.items():
                if there.get(key) != uid and cache.drop(key, uid):
                    logger.info("%s %s went while nobody watched", resource.kind, key)
                    self.changed(resource, key)

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.persistence.diffbase_storage = NoDifferences()
        settings.scanning.disabled = True
        settings.networking.connect_timeout = CONNECT_TIMEOUT_S
        settings.networking.request_timeout = REQUEST_TIMEOUT_S
        settings.watching.connect_timeout = CONNECT_TIMEOUT_S
        settings.watching.inactivity_timeout = INACTIVITY_S
        settings.watching.chunk_size = CHUNK
        settings.watching.label_selectors[PODS.plural] = ROLE_LABEL
        settings.watching.field_selectors[LEASES.group, LEASES.plural] = f"metadata.name={self.scope.lease_name}"
        settings.queueing.idle_timeout = IDLE_TIMEOUT_S
        settings.queueing.exit_timeout = IDLE_TIMEOUT_S
        settings.process.ultimate_exiting_timeout = None
        return settings

    def _register(self, registry: kopf.OperatorRegistry, configuration: Configuration) -> None:
        async def login(**_: Any) -> kopf.ConnectionInfo:
            return await credentials.for_kopf(configuration)

        kopf.on.login(registry=registry)(login)
        takers: list[tuple[KubeResource, Callable[[Any], bool | None], Callable[[str, str], Any]]] = [
            (STREAM_SESSIONS, self._take_session, self.caches.sessions.drop),
            (WORKER_POOLS, self._take_pool, self._drop_pool),
            (MODEL_PROFILES, self._take_profile, self.caches.profiles.drop),
            (PODS, self._take_pod, self.caches.pods.drop),
            (LEASES, self._take_lease, lambda _key, _uid: None),
        ]
        if self.scope.nodes:
            takers.append((NODES, self._take_node, self._drop_node))
        for resource, take, drop in takers:
            self._watch(registry, resource, take, drop)

    def _watch(
        self,
        registry: kopf.OperatorRegistry,
        resource: KubeResource,
        take: Callable[[Any], bool | None],
        drop: Callable[[str, str], Any],
    ) -> None:
        """`take` says False if what it is told was known already."""

        echoes: set[str] = set()  # uids of objects whose last event told what is known: our own write come back

        async def index(body: Any, **_: Any) -> None:
            if take(body) is False:
                echoes.add(body["metadata"]["uid"])
            else:
                echoes.discard(body["metadata"]["uid"])

        async def event(body: Any, **kwargs: Any) -> None:
            meta, kind = body["metadata"], cast("str | None", kwargs["type"])
            key = f"{meta.get('namespace', '')}/{meta['name']}"
            if kind == "MODIFIED" and meta["uid"] in echoes:
                echoes.discard(meta["uid"])
                return
            if kind is None and self.synced.is_set():
                self.listed_anew.set()
            self.synced.set()
            if kind == "DELETED":
                drop(key, meta["uid"])
            self.changed(resource, key)

        where: Sequence[str] = (
            (resource.group, resource.version, resource.plural) if resource.group else ("v1", resource.plural)
        )
        name = resource.plural
        kopf.index(*where, id=f"keep-{name}", registry=registry)(index)
        kopf.on.event(*where, id=f"tell-{name}", registry=registry)(event)

    def _take_session(self, body: Any) -> bool:
        fact = facts.session_of(body)
        known = self.caches.sessions.get(fact.meta.key)
        if known is not None and known.meta == fact.meta:
            return False
        return self.caches.sessions.put(fact)

    def _take_pool(self, body: Any) -> None:
        try:
            pool = facts.pool_of(body)
        except facts.Unreadable as error:
            known = self.caches.mistaken.get(error.meta.key)
            if known is None or known.mistakes != error.mistakes:
                logger.error("the pool %s cannot be read: %s", error.meta.key, "; ".join(error.mistakes))
            self.caches.mistaken[error.meta.key] = Mistaken(error.meta, error.mistakes)
            return
        self.caches.mistaken.pop(pool.meta.key, None)
        self.caches.pools.put(pool)

    def _drop_pool(self, key: str, uid: str) -> None:
        self.caches.mistaken.pop(key, None)
        self.caches.pools.drop(key, uid)

    def _take_profile(self, body: Any) -> None:
        try:
            self.caches.profiles.put(Profile(facts.meta_of(body), facts.rows_of(body)))
        except facts.Unreadable as error:
            logger.error(
                "the profile %s cannot be read, and is left out: %s", error.meta.key, "; ".join(error.mistakes)
            )
            self.caches.profiles.put(Profile(error.meta, ()))

    def _take_pod(self, body: Any) -> None:
        if (pod := facts.pod_of(body)) is not None:
            self.caches.pods.put(pod)

    def _take_node(self, body: Any) -> None:
        node = facts.node_of(body)
        self.caches.nodes[node.name] = node

    def _drop_node(self, key: str, _uid: str) -> None:
        self.caches.nodes.pop(key.partition("/")[2], None)

    def _take_lease(self, body: Any) -> None:
        if body["metadata"].get("namespace") == self.scope.lease_namespace:
            self._heard_s = self.clock.monotonic()
