"""Peers from before subscriptions to pictures: their hello has the minor version 0, and nothing else differs."""

from typing import Any

import pytest

from genlock_core.link.handshake import Handshake
from genlock_core.link.messages import LinkRole


def make_old(monkeypatch: pytest.MonkeyPatch, role: LinkRole) -> None:
    """Every end of this role that is made from now on is an old one."""
    made = Handshake.__init__

    def make(handshake: Handshake, *args: Any, **options: Any) -> None:
        made(handshake, *args, **options)
        if handshake._role is role:
            handshake._own = handshake._own.model_copy(update={"minor": 0})

    monkeypatch.setattr(Handshake, "__init__", make)
