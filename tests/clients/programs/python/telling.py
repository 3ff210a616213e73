"""What the client programs in Python share: they tell events as lines of JSON, and heed the end of their input."""

import asyncio
import json
import sys
import time
from pathlib import Path
from urllib.parse import urljoin

import cv2
import httpx

from tests.clients.proof import FRAMES_WANTED, Picture


def tell(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def unix_ms() -> float:
    return time.time() * 1_000


async def told_to_leave() -> None:
    """Returns when standard input ends."""
    await asyncio.to_thread(sys.stdin.read)


async def post_offer(url: str, sdp: str) -> tuple[str, str]:
    """The answer and the URL of the WHIP or WHEP session. Raises httpx.HTTPStatusError."""
    async with httpx.AsyncClient(timeout=15.0) as http:
        tell("offer", unixMs=unix_ms())
        response = await http.post(url, content=sdp, headers={"Content-Type": "application/sdp"})
        tell("answer", status=response.status_code, sdp=response.text)
        response.raise_for_status()
    return response.text, urljoin(url, response.headers["Location"])


async def say_goodbye(resource: str) -> None:
    async with httpx.AsyncClient(timeout=15.0) as http:
        (await http.delete(resource)).raise_for_status()


class Album:
    """The decoded pictures of a watching program: counted, every fourth kept, told when there are enough."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._told = False

    def take(self, picture: Picture) -> None:
        """The next decoded picture; any thread."""
        if self._count == 0:
            tell("first-frame", unixMs=unix_ms())
        if self._count % 4 == 0 and not self._told:
            cv2.imwrite(str(self._folder / f"{self._count:04}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self._count += 1

        if self._count >= FRAMES_WANTED and not self._told:
            self._told = True
            height, width = picture.shape[:2]
            tell("watched", frames=self._count, width=width, height=height)
