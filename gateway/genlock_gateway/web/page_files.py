"""The pages' files, read once: who asks for one costs neither the disk nor a thread.

Each is revalidated on each use (RFC 9110 section 13), so that a new release shows at once.
"""

import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file as it is sent."""

    body: bytes
    media_type: str
    etag: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises OSError."""
        body = path.read_bytes()
        media_type, _ = mimetypes.guess_type(path.name)
        return cls(body, media_type or "application/octet-stream", f'"{hashlib.sha256(body).hexdigest()[:16]}"')

    def response(self, request: Request, headers: Mapping[str, str]) -> Response:
        """The file, or 304 for who has it."""
        sent = {**headers, "ETag": self.etag}
        known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
        if self.etag in known:
            return Response(status_code=304, headers=sent)
        return Response(self.body, media_type=self.media_type, headers=sent)


class PageFiles:
    """All files of one folder; an ASGI application that serves them by their names."""

    def __init__(self, folder: Path, headers: Mapping[str, str]) -> None:
        """Raises OSError."""
        self._headers = headers
        self._files = {path.name: PageFile.read(path) for path in folder.iterdir() if path.is_file()}

    def __getitem__(self, name: str) -> PageFile:
        return self._files[name]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405)
        # A mount's path is the whole one; what it was mounted at stands in front of it.
        name = scope["path"].removeprefix(scope.get("root_path", "")).removeprefix("/")
        file = self._files.get(name)
        if file is None:
            raise HTTPException(404)
        await file.response(Request(scope), self._headers)(scope, receive, send)
