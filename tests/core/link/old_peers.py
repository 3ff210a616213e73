"""Peers of an older minor version: their hello has it, and nothing else differs."""

from typing import Any

import pytest

from genlock_core.link.handshake import Handshake
from genlock_core.link.messages import LinkRole


def make_old(monkeypatch: pytest.MonkeyPatch, role: LinkRole, *, minor: int = 0) -> None:
    """Every end of this role that is made from now on is an old one; of 0, before subscriptions, unless told."""
    made = Handshake.__init__

    def make(handshake: Handshake, *args: Any, **options: Any) -> None:
        made(handshake, *args, **options)
        if handshake._role is role:
            handshake._own = handshake._own.model_copy(update={"minor": minor})

    monkeypatch.setattr(Handshake, "__init__", make)
