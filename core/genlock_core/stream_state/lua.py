"""How this package's scripts get to Redis: by digest, with binary arguments and replies."""

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, cast

from redis.exceptions import NoScriptError

from genlock_core.store import Store


@cache
def source(name: str) -> str:
    """The text of `scripts/<name>.lua`."""
    return (resources.files("genlock_core.stream_state") / "scripts" / f"{name}.lua").read_text("utf-8")


async def run(store: Store, name: str, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
    """The script's reply. Raises RedisError when Redis is away."""
    text = source(name)
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    sent = (*keys, *arguments)
    try:
        return await cast("Any", store.evalsha(digest, len(keys), *sent))
    except NoScriptError:
        return await cast("Any", store.eval(text, len(keys), *sent))
