"""kopf as a watch machine and nothing else: its handlers fill our caches and name what changed.

kopf lists, watches, reconnects and orders the events of each object; pools and profiles are indexed, so that nothing is
heard of a session before they are known. It gets no finalizers, patches, timers, annotations or peering to do. What it
cannot tell is an object that went while a watch was broken: when it lists anew, and every few minutes, `sweep` compares
what is kept with what is there.
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
from genlock_core.process.tasks import end_tasks
from genlock_operator.kube import credentials
from genlock_operator.kube.api import (
    LEASES,
    MODEL_PROFILES,
    NODES,
    PODS,
    STREAM_SESSIONS,
    WORKER_POOLS,
    KubeApi,
    Resource,
)
from genlock_operator.kube.errors import KubeError
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
ASK_AGAIN_S: Final = 0.9
LIST_AGAIN_S: Final = 3.0
LOOK_S: Final = 0.05

Changed = Callable[[Resource, str], None]
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


@dataclass(frozen=True, slots=True)
class _WatchedKind:
    """A kind of objects that is watched."""

    resource: Resource
    take: Callable[[Any], bool | None]
    """Keeps what it is told; says False if that was known already."""
    drop: Callable[[str, str], Any]
    """Forgets the object of that `namespace/name` and uid."""
    indexed: bool = False
    """No handler of any kind runs before all of these are known (`kopf.index`). Only for kinds of which there are few:
    kopf wakes every object that waits for its indices each time that one of them is done."""


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
    """When the lease was last heard of."""
    _told: set[str] = field(default_factory=set)
    """Uids that kopf told of, until all is listed."""

    def age_s(self) -> float | None:
        """Seconds since the lease, which changes every second, was last heard of through a watch."""
        return None if self._heard_s is None else self.clock.monotonic() - self._heard_s

    async def run(self, configuration: Configuration, *, spawned: Callable[[], None] = lambda: None) -> None:
        """Watch until cancelled. Raises what ended it otherwise.

        `spawned` is called once kopf has set its signal handlers.
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

        # kopf's own way to stop would cancel every task of the loop that is younger than itself.
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end_tasks(tasks, ask_again_s=ASK_AGAIN_S, give_up_s=STOP_S)

    async def sync(self, api: KubeApi) -> None:
        """Wait until kopf has told of everything that is there; sets `synced`.

        kopf does not say when a list is done, so a list of names is held against what it told: an object that went
        before kopf listed it is not in the next one.
        """
        missing: set[str] = set()
        asked_s = -LIST_AGAIN_S
        while not self.synced.is_set():
            # Listed again now and then, as what is missing may have gone.
            if self.clock.monotonic() - asked_s >= LIST_AGAIN_S:
                asked_s = self.clock.monotonic()
                try:
                    missing = await self._uids(api)
                except KubeError as error:
                    logger.warning("what is there cannot be listed yet: %s", error)
                    missing = {"unknown"}
            missing -= self._told
            if not missing:
                self.synced.set()
                self._told.clear()
                return
            await asyncio.sleep(LOOK_S)

    async def _uids(self, api: KubeApi) -> set[str]:
        """Every object that is watched, but for the lease."""
        uids: set[str] = set()
        for resource, labels in ((STREAM_SESSIONS, ""), (WORKER_POOLS, ""), (MODEL_PROFILES, ""), (PODS, ROLE_LABEL)):
            for namespace in self.scope.namespaces or (None,):
                uids |= set((await api.list_names(resource, namespace, labels=labels)).values())
        if self.scope.nodes:
            uids |= set((await api.list_names(NODES, None)).values())
        return uids

    async def sweep(self, api: KubeApi) -> None:
        """Drop what is kept and is not there any more. Raises KubeError."""
        kept: list[tuple[Resource, Kept[Any], str]] = [
            (STREAM_SESSIONS, self.caches.sessions, ""),
            (WORKER_POOLS, self.caches.pools, ""),
            (MODEL_PROFILES, self.caches.profiles, ""),
            (PODS, self.caches.pods, ROLE_LABEL),
        ]
        for resource, cache, labels in kept:
            # What is kept is noted before the list is made: what comes later is in the list or newer than it.
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

        # kopf writes nothing: no Events, no annotations, no peering.
        settings.posting.enabled = False
        settings.persistence.diffbase_storage = NoDifferences()
        settings.scanning.disabled = True

        # A stream that carries nothing is dead, and is opened anew.
        settings.networking.connect_timeout = CONNECT_TIMEOUT_S
        settings.networking.request_timeout = REQUEST_TIMEOUT_S
        settings.watching.connect_timeout = CONNECT_TIMEOUT_S
        settings.watching.inactivity_timeout = INACTIVITY_S
        settings.watching.chunk_size = CHUNK

        # Of pods and leases only ours.
        settings.watching.label_selectors[PODS.plural] = ROLE_LABEL
        settings.watching.field_selectors[LEASES.group, LEASES.plural] = f"metadata.name={self.scope.lease_name}"

        # Tasks for single objects end soon, so that thousands of objects do not mean thousands of tasks.
        settings.queueing.idle_timeout = IDLE_TIMEOUT_S
        settings.queueing.exit_timeout = IDLE_TIMEOUT_S
        settings.process.ultimate_exiting_timeout = None
        return settings

    def _register(self, registry: kopf.OperatorRegistry, configuration: Configuration) -> None:
        async def login(**_: Any) -> kopf.ConnectionInfo:
            return await credentials.for_kopf(configuration)

        kopf.on.login(registry=registry)(login)

        # A session is placed by pools and profiles, so these are indexed: all of them are known before a session is.
        all_watched = [
            _WatchedKind(WORKER_POOLS, self._take_pool, self._drop_pool, indexed=True),
            _WatchedKind(MODEL_PROFILES, self._take_profile, self.caches.profiles.drop, indexed=True),
            _WatchedKind(STREAM_SESSIONS, self._take_session, self.caches.sessions.drop),
            _WatchedKind(PODS, self._take_pod, self.caches.pods.drop),
            _WatchedKind(LEASES, self._take_lease, lambda _key, _uid: None),
        ]
        if self.scope.nodes:
            all_watched.append(_WatchedKind(NODES, self._take_node, self._drop_node))
        for watched in all_watched:
            self._watch(registry, watched)

    def _watch(self, registry: kopf.OperatorRegistry, watched: _WatchedKind) -> None:
        resource = watched.resource

        async def index(body: Any, **_: Any) -> None:
            watched.take(body)

        async def event(body: Any, **kwargs: Any) -> None:
            meta = body["metadata"]
            kind = cast("str | None", kwargs["type"])
            key = f"{meta.get('namespace', '')}/{meta['name']}"
            known = not watched.indexed and watched.take(body) is False

            # An object without a kind of event comes from a list: at first, and whenever a watch begins again.
            if not self.synced.is_set():
                self._told.add(meta["uid"])
            elif kind is None:
                self.listed_anew.set()

            if kind == "DELETED":
                watched.drop(key, meta["uid"])
            elif known and kind == "MODIFIED":
                return  # a write of our own came back
            self.changed(resource, key)

        where: Sequence[str] = (
            (resource.group, resource.version, resource.plural) if resource.group else ("v1", resource.plural)
        )
        name = resource.plural
        if watched.indexed:
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
