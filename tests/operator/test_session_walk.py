"""From a watch's event to phase Live a session passes few files, and each is one that has to be there.

They are counted in a process of its own, in which nothing else follows calls.
"""

import asyncio
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


async def test_a_session_comes_to_live_through_fewer_than_fifteen_files() -> None:
    counting = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.operator.session_walk"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaint = await counting.communicate()
    assert counting.returncode == 0, complaint.decode()
    files = [line.split()[1] for line in printed.decode().splitlines()]
    assert len(files) < 15, files
    assert files[0] == "operator/genlock_operator/watch/watcher.py"
    assert "core/genlock_core/claims/claims.py" in files
    assert "worker/genlock_worker/session/live_session.py" in files
