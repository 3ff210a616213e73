"""How a client's run is seen: what it publishes by our viewer, what it watches by its own pictures."""

import base64
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import av
import cv2
import numpy as np

from tests.clients.card import pictures_of
from tests.clients.heard import ClientFailed, Heard
from tests.clients.laboratory import STAGE, Client, Laboratory
from tests.clients.proof import Picture, Proof, moves, spread
from tests.clients.viewer import Viewer

Start = Callable[[Laboratory, Client, str], AbstractAsyncContextManager[Heard]]
"""Starts a client for the URL of its endpoint; it leaves when the context ends."""


def publishing(start: Start, *, codec: str | None = None) -> Callable[[Laboratory, Client], Awaitable[Proof]]:
    """The run of a client that publishes; `codec` where it does not show the answer."""

    async def run(lab: Laboratory, client: Client) -> Proof:
        async with lab.lane() as session, Viewer(lab.up.whep(session)) as viewer:
            await viewer.until_quiet()
            async with start(lab, client, lab.up.whip(session)) as heard:
                offer = await heard.event("offer")
                try:
                    await viewer.until_seen()
                except TimeoutError:
                    raise ClientFailed(f"{viewer.count} pictures came, or they stand still; {heard.said}") from None
        assert viewer.first_unix_ms is not None
        last = viewer.pictures[-1]
        return Proof(
            frames=viewer.count,
            width=last.shape[1],
            height=last.shape[0],
            moved=moves(viewer.pictures),
            first_frame_ms=round(viewer.first_unix_ms - offer["unixMs"]),
            codec=codec or heard.codec,
            version=heard.events["version"]["version"],
            picture=last,
        )

    return run


def watching(start: Start) -> Callable[[Laboratory, Client], Awaitable[Proof]]:
    """The run of a client that watches the stage."""

    async def run(lab: Laboratory, client: Client) -> Proof:
        async with start(lab, client, lab.up.whep(STAGE)) as heard:
            watched = await heard.event("watched")
        pictures = spread(_pictures(watched.get("pictures", ()), lab.room(client)))
        if not pictures:
            raise ClientFailed(f"it kept no picture; {heard.said}")
        return Proof(
            frames=watched["frames"],
            width=pictures[-1].shape[1],
            height=pictures[-1].shape[0],
            moved=moves(pictures),
            first_frame_ms=round(heard.events["first-frame"]["unixMs"] - heard.events["offer"]["unixMs"]),
            codec=heard.codec,
            version=heard.events["version"]["version"],
            picture=pictures[-1],
        )

    return run


def _pictures(urls: Sequence[str], room: Path) -> list[Picture]:
    """What the client decoded: told as data URLs, else kept as files, else the media that it received."""
    if urls:
        encoded = [np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8) for url in urls]
        return [_rgb(cv2.imdecode(data, cv2.IMREAD_COLOR)) for data in encoded]
    kept = sorted([*room.glob("*.png"), *room.glob("*.ppm")])
    if kept:
        return [_rgb(cv2.imread(str(path), cv2.IMREAD_COLOR)) for path in kept]
    try:
        return [picture for path in sorted(room.glob("received.*")) for picture in pictures_of(path)]
    except av.FFmpegError as error:
        raise ClientFailed(f"what it received cannot be decoded: {error}") from None


def _rgb(picture: "cv2.typing.MatLike | None") -> Picture:
    if picture is None:
        raise ClientFailed("a picture that it kept cannot be read")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
