"""From a watch's event to phase Live a session passes few files, and each is one that has to be there."""

from tests.operator.session_walk import walk


async def test_a_session_comes_to_live_through_fewer_than_fifteen_files(redis_url: str) -> None:
    files = await walk(redis_url)

    assert len(files) < 15, files
    assert files[0] == "operator/genlock_operator/watch/watcher.py"
    assert "core/genlock_core/claims/claims.py" in files
    assert "worker/genlock_worker/session/live_session.py" in files
