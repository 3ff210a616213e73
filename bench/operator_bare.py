"""The least that an operator could do, to compare with: a kopf handler that writes a phase, and nothing else.

No claim, no Redis, no sizing, no conditions, no Events, no leader. `--count N`: says so once it has seen N sessions.
"""

import argparse
import asyncio
from typing import Any

import kopf

from genlock_core.spec.session import Phase


def register(registry: kopf.OperatorRegistry, *, count: int) -> None:
    """The handler."""
    seen: set[str] = set()

    async def event(name: str, status: Any, patch: Any, **_: Any) -> None:
        if not status.get("phase"):
            patch.status["phase"] = Phase.ASSIGNED.value
        seen.add(name)
        if len(seen) == count:
            print(f"seen {count}", flush=True)

    kopf.on.login(registry=registry)(kopf.login_with_kubeconfig)
    kopf.on.event("genlock.dev", "v1alpha1", "streamsessions", registry=registry)(event)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.operator_bare", description=__doc__)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--count", type=int, default=0)
    options = parser.parse_args()
    registry, settings = kopf.OperatorRegistry(), kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.chunk_size = 500
    settings.queueing.idle_timeout = 0.5
    register(registry, count=options.count)
    asyncio.run(kopf.operator(registry=registry, settings=settings, standalone=True, namespaces=[options.namespace]))


if __name__ == "__main__":
    main()
