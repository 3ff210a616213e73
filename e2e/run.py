"""`make e2e`: a cluster, images, the chart, the tests; says what it does and how long it takes. The cluster stays up.

    python -m e2e.run [--keep] [PYTEST ARGUMENT...]

--keep takes cluster, images and installation as the last run left them.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import time

from e2e import install
from e2e.install import say
from e2e.kubectl import CommandFailed
from e2e.surroundings import CLUSTER, ROOT, Surroundings

ARTIFACTS = ROOT / "e2e" / "artifacts"
GPUS = 8
"""Fake GPUs of each node."""


def main(arguments: list[str]) -> int:
    """The exit status of pytest, or 1 where it did not come so far."""
    began = time.monotonic()
    keep = "--keep" in arguments
    try:
        surroundings = Surroundings.find(os.environ)
        if not keep:
            shutil.rmtree(ARTIFACTS, ignore_errors=True)
            _cluster(surroundings)
        surroundings.enter()
        if not keep:
            asyncio.run(_prepare(surroundings))
    except (CommandFailed, ValueError, subprocess.CalledProcessError) as error:
        say(f"error: {error}")
        return 1
    say("tests")
    tests = [one for one in arguments if one != "--keep"] or ["e2e"]
    code = subprocess.run([sys.executable, "-m", "pytest", "-c", "e2e/pytest.ini", *tests], cwd=ROOT).returncode
    verdict = "failed" if code else "passed"
    say(f"{verdict} after {time.monotonic() - began:.0f} s; the cluster stays up (make e2e-down)")
    return code


async def _prepare(surroundings: Surroundings) -> None:
    await install.images(surroundings)
    try:
        await install.install(surroundings)
    except CommandFailed:
        install.keep(ARTIFACTS / "install", await install.evidence())
        raise


def _cluster(surroundings: Surroundings) -> None:
    if not surroundings.own:
        say(f"cluster of {surroundings.kubeconfig}")
        return
    began = time.monotonic()
    say("cluster (minutes the first time, seconds where it is up)")
    subprocess.run([f"{CLUSTER}/up", "--gpus", str(GPUS)], check=True, stdout=subprocess.DEVNULL)
    say(f"cluster up in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
