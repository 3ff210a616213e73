"""What may need work, by name."""

from typing import Literal, NamedTuple


class Key(NamedTuple):
    """A session or a pool, called `namespace/name`."""

    kind: Literal["session", "pool"]
    name: str


def session(name: str) -> Key:
    return Key("session", name)


def pool(name: str) -> Key:
    return Key("pool", name)
