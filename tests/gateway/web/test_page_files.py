"""Files that are read once."""

from pathlib import Path

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from genlock_gateway.web.page_files import PageFiles


@pytest.fixture
def files(tmp_path: Path) -> PageFiles:
    (tmp_path / "page.js").write_text("let it = 1;")
    (tmp_path / "folder").mkdir()
    made = PageFiles(tmp_path, {"Cache-Control": "no-cache"})
    (tmp_path / "page.js").unlink()
    return made


async def asked(files: PageFiles, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """The answer of the files, mounted at /assets."""
    sent: list[Message] = []
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": method, "path": f"/assets{path}", "root_path": "/assets", "headers": named}
    await files(scope, receive, send)
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, sent[1]["body"]


async def test_a_file_comes_with_its_type_and_is_not_read_again(files: PageFiles) -> None:
    status, headers, body = await asked(files, "/page.js")
    assert (status, body) == (200, b"let it = 1;")
    assert headers["content-type"].startswith("text/javascript")
    assert headers["cache-control"] == "no-cache"


async def test_who_has_it_gets_no_body(files: PageFiles) -> None:
    _, headers, _ = await asked(files, "/page.js")
    for tag in (headers["etag"], f'"x", W/{headers["etag"]}'):
        status, again, body = await asked(files, "/page.js", if_none_match=tag)
        assert (status, body, again["etag"]) == (304, b"", headers["etag"])
    assert (await asked(files, "/page.js", if_none_match='"x"'))[0] == 200


@pytest.mark.parametrize("path", ["", "/", "/nothing.js", "/folder", "/../page.js", "//page.js", "/page.js/"])
async def test_there_is_nothing_but_the_files(files: PageFiles, path: str) -> None:
    with pytest.raises(HTTPException) as refused:
        await asked(files, path)
    assert refused.value.status_code == 404


async def test_files_are_only_read(files: PageFiles) -> None:
    with pytest.raises(HTTPException) as refused:
        await asked(files, "/page.js", "POST")
    assert refused.value.status_code == 405


def test_a_page_takes_headers_of_its_own(files: PageFiles) -> None:
    request = Request({"type": "http", "headers": []})
    assert files["page.js"].response(request, {"X": "1"}).headers["x"] == "1"
