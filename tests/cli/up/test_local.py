"""What `genlock up` finds out of a Redis that it was given, before it starts anything."""

from pathlib import Path

import pytest

from genlock_cli.exit_status import Unreachable
from genlock_cli.redis_server import RedisProcess
from genlock_cli.up.local import check_redis
from genlock_core.errors import BadInput


async def test_a_redis_that_answers_is_taken(tmp_path: Path) -> None:
    with RedisProcess(tmp_path) as redis:
        await check_redis(redis.url)


async def test_a_redis_that_is_away_is_told_without_its_password() -> None:
    with pytest.raises(Unreachable, match="no Redis answers at") as away:
        await check_redis("redis://:secret@127.0.0.1:9/0")
    assert "secret" not in str(away.value)


@pytest.mark.parametrize("url", ["", "foo", "http://x", "redis://x:port"])
async def test_what_is_no_address_of_a_redis_is_told(url: str) -> None:
    with pytest.raises(BadInput, match="not the address of a Redis"):
        await check_redis(url)
