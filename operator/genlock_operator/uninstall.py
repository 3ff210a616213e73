"""What runs before the chart is uninstalled: `python -m genlock_operator.uninstall`, the chart's pre-delete hook.

Nothing of Genlock has a finalizer, so nothing waits for an operator that is gone. What could hold people up is the
policy that protects pods with live sessions, and what could be left behind are workers of pools that the chart does not
know. So the policy's binding goes first, then every session and pool; the operator, which still runs, ends the streams,
and the garbage collector, which the policy never binds, takes the pods. An uninstall is never held up for longer than
it was told.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from genlock_core.process import logs, values
from genlock_core.process.logs import LogSettings
from genlock_core.process.options import Clash, Program, option, read, section
from genlock_operator.kube import credentials
from genlock_operator.kube.api import PODS, STREAM_SESSIONS, WORKER_POOLS, Body, Resource
from genlock_operator.kube.client import KubeClient
from genlock_operator.kube.errors import Conflict, KubeError, NotFound
from genlock_operator.plan.policy import POOL_LABEL
from genlock_operator.settings import NAMESPACE

logger = logging.getLogger(__name__)

PROGRAM: Final = Program("genlock-uninstall", "GENLOCK_UNINSTALL_", "Deletes sessions and pools of Genlock.")

POLICY_BINDINGS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicybindings",
    "ValidatingAdmissionPolicyBinding",
    namespaced=False,
)
LOOK_EVERY_S = 1.0


class Cleaner(Protocol):
    """What of KubeClient is needed here; the binding is in no namespace. Every method raises a KubeError."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Body: ...

    async def list_names(self, resource: Resource, namespace: str | None, *, labels: str = "") -> dict[str, str]: ...

    async def delete(self, resource: Resource, namespace: str | None, name: str, *, uid: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Installation:
    """What there is to clean: a namespace None stands for all of them, a binding "" for none."""

    namespaces: tuple[str | None, ...]
    policy_binding: str = ""


async def clean(api: Cleaner, installation: Installation, *, every_s: float = LOOK_EVERY_S) -> None:
    """Delete, and look again until nothing is left. A refusal is logged, and tried again."""
    while True:
        try:
            left = await _round(api, installation)
        except KubeError as error:
            logger.warning("%s", error)
        else:
            if not left:
                return
            logger.info("still there: %s", ", ".join(left))
        await asyncio.sleep(every_s)


async def _round(api: Cleaner, installation: Installation) -> list[str]:
    """Delete what there is; returns what was there."""
    if installation.policy_binding:
        await _delete_binding(api, installation.policy_binding)

    # Sessions and pools: the operator, which still runs, ends the streams.
    left = []
    for resource in (STREAM_SESSIONS, WORKER_POOLS):
        for namespace in installation.namespaces:
            for key, uid in (await api.list_names(resource, namespace)).items():
                left.append(f"{resource.kind} {key}")
                await _delete(api, resource, *key.split("/"), uid=uid)

    # Workers are only waited for: the garbage collector takes them with their pools.
    for namespace in installation.namespaces:
        left += [f"Pod {key}" for key in await api.list_names(PODS, namespace, labels=POOL_LABEL)]
    return left


async def _delete_binding(api: Cleaner, name: str) -> None:
    try:
        found = await api.get(POLICY_BINDINGS, None, name)
    except NotFound:
        return
    await _delete(api, POLICY_BINDINGS, None, name, uid=found["metadata"]["uid"])


async def _delete(api: Cleaner, resource: Resource, namespace: str | None, name: str, *, uid: str) -> None:
    """Delete it, or see that somebody else did."""
    try:
        await api.delete(resource, namespace, name, uid=uid)
    except (NotFound, Conflict):
        return
    logger.info("deleted %s %s", resource.kind, name)


async def run(api: Cleaner, installation: Installation, *, timeout_s: float) -> bool:
    """Clean for at most `timeout_s`; returns whether everything is gone."""
    try:
        async with asyncio.timeout(timeout_s):
            await clean(api, installation)
    except TimeoutError:
        logger.warning("not everything was gone after %g s; the uninstall goes on", timeout_s)
        return False
    logger.info("no session, no pool and no worker is left")
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class UninstallSettings:
    """What to clean, and for how long."""

    policy_binding: str = option(values.text(), "", "the binding that protects pods with live sessions")
    namespaces: tuple[str, ...] = option(
        values.several(NAMESPACE, separator=","), "", "watched namespaces, commas between"
    )
    all_namespaces: bool = option(values.switch(), "no", "every namespace instead")
    timeout_s: float = option(
        values.duration(1.0, 3_600.0), "2m", "how long to wait for the workers to be gone", was="timeout-s"
    )
    log: LogSettings = section(LogSettings)

    @property
    def installation(self) -> Installation:
        """What there is to clean."""
        return Installation((None,) if self.all_namespaces else self.namespaces, self.policy_binding)


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> UninstallSettings:
    """Read options and environment. A mistake is one line on stderr, and exit status 2."""

    def complete(settings: UninstallSettings) -> UninstallSettings:
        if settings.all_namespaces == bool(settings.namespaces):
            raise Clash(["namespaces", "all-namespaces"], "give one of them")
        return settings

    return read(PROGRAM, UninstallSettings, arguments, environment, complete=complete)


async def _main(settings: UninstallSettings) -> None:
    api = KubeClient(await credentials.load(None), measure=lambda *_: None)
    try:
        await run(api, settings.installation, timeout_s=settings.timeout_s)
    finally:
        await api.close()


def main() -> None:
    """The command: exit status 0 also where something is left, as an uninstall must not fail for it."""
    settings = parse_settings(sys.argv[1:], os.environ)
    logs.configure(settings.log, fields={})
    asyncio.run(_main(settings))


if __name__ == "__main__":
    main()
