"""Looking into Redis past the scripts: indices and run ids, and the ways in which it loses or rewinds its data."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from genlock_core import store
from genlock_core.claims import keys
from genlock_core.claims.lua import decoded

EVERYTHING = """
local P, found = KEYS[1], {sessions = {}, workers = {}, indices = {}, holes = {}}
local function hash(key)
  local flat, fields = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end
for _, name in ipairs(redis.call('SMEMBERS', P .. 'sessions')) do
  found.sessions[name] = hash(P .. 'session:' .. name)
end
for _, name in ipairs(redis.call('SMEMBERS', P .. 'workers')) do
  found.workers[name] = hash(P .. 'worker:' .. name)
  found.workers[name].owned = hash(P .. 'worker:' .. name .. ':sessions')
end
for _, name in ipairs({'leases', 'idle', 'finished', 'heartbeats', 'pool:a:free', 'pool:b:free'}) do
  local flat, scores = redis.call('ZRANGE', P .. name, 0, -1, 'WITHSCORES'), {}
  for i = 1, #flat, 2 do scores[flat[i]] = tonumber(flat[i + 1]) end
  found.indices[name] = scores
end
for _, pool in ipairs({'a', 'b'}) do found.holes[pool] = hash(P .. 'pool:' .. pool .. ':hole') end
return cjson.encode(found)
"""


@dataclass(frozen=True, slots=True)
class Look:
    """All that the claims keep in Redis, at one moment, as the strings that stand there.

    `sessions` and `workers`: name -> hash, the latter with `owned`: session -> `epoch:cost`. `indices`: name ->
    member -> score. `holes`: the last one of each pool.
    """

    sessions: dict[str, dict[str, str]]
    workers: dict[str, dict[str, Any]]
    indices: dict[str, dict[str, int]]
    holes: dict[str, dict[str, str]]


async def look(client: store.Store) -> Look:
    return Look(**json.loads(await cast("Any", client.eval(EVERYTHING, 1, keys.PREFIX))))


async def flush(client: store.Store) -> None:
    await cast("Any", client.flushall())


async def run_id(client: store.Store) -> str:
    """The run id of the server that has the control plane, as a script there sees it."""
    script = "return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')"
    return cast("str", decoded(await cast("Any", client.eval(script, 1, keys.PREFIX))))


async def set_guard(client: store.Store, run: str) -> None:
    await cast("Any", client.hset(keys.GUARD, "run_id", run))


class Refusal(StrEnum):
    """How Redis is brought to take no writes, while it answers."""

    FULL = "full"
    READ_ONLY = "read-only"
    NO_REPLICAS = "no replicas"


_REFUSE = {
    Refusal.FULL: (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    Refusal.READ_ONLY: (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    Refusal.NO_REPLICAS: (
        ("CONFIG", "SET", "min-replicas-to-write", "1"),
        ("CONFIG", "SET", "min-replicas-to-write", "0"),
    ),
}


@asynccontextmanager
async def refusing(client: store.Store, refusal: Refusal) -> AsyncIterator[None]:
    """Redis takes no writes meanwhile."""
    refuse, accept = _REFUSE[refusal]
    await cast("Any", client.execute_command(*refuse))
    try:
        yield
    finally:
        await cast("Any", client.execute_command(*accept))


async def dump(client: store.Store) -> dict[bytes, bytes]:
    return {key: await cast("Any", client.dump(key)) async for key in client.scan_iter(match="genlock:*")}


async def restore(client: store.Store, copied: dict[bytes, bytes]) -> None:
    await flush(client)
    for key, value in copied.items():
        await cast("Any", client.restore(key, 0, value))
