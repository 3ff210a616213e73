"""The gateway's REST interface as the commands use it."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, cast

import httpx

from genlock_core.errors import GenlockError
from genlock_core.spec.session import SessionKey

TIMEOUT_S = 10.0


class GatewayProblem(GenlockError):
    """What the gateway refused, in its own words (RFC 9457), or that it could not be reached (status 0)."""

    def __init__(self, status: int, title: str, detail: str = "", *, retry_after_s: float | None = None) -> None:
        self.status = status
        self.title = title
        self.detail = detail
        self.retry_after_s = retry_after_s
        super().__init__(f"{title}: {detail}" if detail and detail != title else title)


def problem_of(response: httpx.Response) -> GatewayProblem:
    """The error that a response carries, whatever its body is."""
    try:
        body = response.json()
        title, detail = str(body["title"]), str(body.get("detail") or "")
        mistakes = "; ".join(f"{one['path']}: {one['message']}" for one in body.get("errors") or ())
        detail = f"{detail}: {mistakes}" if mistakes else detail
    except (ValueError, KeyError, TypeError, AttributeError):
        title, detail = f"HTTP {response.status_code} {response.reason_phrase}", response.text[:200]
    retry = response.headers.get("Retry-After", "")
    return GatewayProblem(response.status_code, title, detail, retry_after_s=float(retry) if retry.isdigit() else None)


def out_of_reach(base_url: str, error: httpx.HTTPError) -> GatewayProblem:
    return GatewayProblem(
        0,
        f"no gateway at {base_url} ({type(error).__name__})",
        "start one with `genlock up`, or name yours with --gateway",
    )


class GatewayApi:
    """One gateway, one token. A context manager that closes its connections."""

    def __init__(self, base_url: str, token: str | None) -> None:
        self._base_url = base_url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=self._base_url, headers=headers, timeout=TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def sessions(self) -> list[dict[str, Any]]:
        return cast(list[dict[str, Any]], self._call("GET", "/api/v1/sessions"))

    def session(self, key: SessionKey) -> dict[str, Any]:
        return cast(dict[str, Any], self._call("GET", f"/api/v1/sessions/{key}"))

    def control(self, key: SessionKey, change: Mapping[str, object]) -> dict[str, Any]:
        return cast(dict[str, Any], self._call("PATCH", f"/api/v1/sessions/{key}/control", json=dict(change)))

    def create(self, manifest: str) -> Any:
        return self._call(
            "POST", "/api/v1/sessions", content=manifest.encode(), headers={"Content-Type": "application/yaml"}
        )

    def move(self, key: SessionKey) -> dict[str, Any]:
        return cast(dict[str, Any], self._call("POST", f"/api/v1/sessions/{key}/move"))

    def end(self, key: SessionKey) -> None:
        self._call("DELETE", f"/api/v1/sessions/{key}")

    def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise out_of_reach(self._base_url, error) from error
        if response.is_error:
            raise problem_of(response)
        return response.json() if response.content else None
