"""The gateway's REST interface as the commands use it."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType, TracebackType
from typing import Any, Self, cast
from urllib.parse import quote

import httpx

from genlock_cli.exit_status import CommandError, ExitStatus
from genlock_core.spec.session import SessionKey

TIMEOUT_S = 10.0
MOST_FOREIGN_CHARS = 200
"""Of an answer that is none of Genlock's, such as a proxy's page."""
_HOW_TO_BE_LET_IN = "give one with --token or GENLOCK_TOKEN, or name the state folder of its `genlock up`: --state-dir"
_EXIT_STATUSES: Mapping[int, ExitStatus] = MappingProxyType(
    {
        0: ExitStatus.UNREACHABLE,
        400: ExitStatus.BAD_INPUT,
        401: ExitStatus.REFUSED,
        403: ExitStatus.REFUSED,
        404: ExitStatus.NOT_FOUND,
        409: ExitStatus.TAKEN,
        410: ExitStatus.NOT_FOUND,
        413: ExitStatus.BAD_INPUT,
        415: ExitStatus.BAD_INPUT,
        422: ExitStatus.BAD_INPUT,
        429: ExitStatus.NO_CAPACITY,
        502: ExitStatus.UNREACHABLE,
        503: ExitStatus.NO_CAPACITY,
        504: ExitStatus.UNREACHABLE,
    }
)


class GatewayProblem(CommandError):
    """What the gateway refused, in its own words (RFC 9457), or that it could not be reached (status 0).

    `reason`: the word that tells refusals of one status apart; `mistakes`: of the fields, `{path, message}`.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        *,
        retry_after_s: float | None = None,
        reason: str = "",
        mistakes: Sequence[Mapping[str, str]] = (),
    ) -> None:
        self.status = status
        self.title = title
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.reason = reason
        self.mistakes = tuple(mistakes)
        super().__init__(detail or title)
        self.exit_status = _EXIT_STATUSES.get(status, ExitStatus.FAILED)
        if status == HTTPStatus.SERVICE_UNAVAILABLE and reason == "store":
            # The gateway is there, but its Redis is not: nobody is reached through it.
            self.exit_status = ExitStatus.UNREACHABLE

    @property
    def fields(self) -> Mapping[str, object]:
        told = {
            "httpStatus": self.status,
            "reason": self.reason,
            "retryAfterS": self.retry_after_s,
            "mistakes": list(self.mistakes),
        }
        return {name: value for name, value in told.items() if value}


def problem_of(response: httpx.Response) -> GatewayProblem:
    """The error that a response carries, whatever its body is."""
    try:
        body = response.json()
        title, detail, reason = str(body["title"]), str(body.get("detail") or ""), str(body.get("reason") or "")
        mistakes = [{"path": str(one["path"]), "message": str(one["message"])} for one in body.get("errors") or ()]
        listed = "; ".join(f"{one['path']}: {one['message']}" for one in mistakes)
        detail = f"{detail}: {listed}" if listed else detail
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            detail = f"{detail or title}; {_HOW_TO_BE_LET_IN}"
    except (ValueError, KeyError, TypeError, AttributeError):
        title = f"HTTP {response.status_code} {response.reason_phrase}"
        detail = f"{title}: {response.text[:MOST_FOREIGN_CHARS]}" if response.text else title
        reason, mistakes = "", []
    retry = response.headers.get("Retry-After", "")
    return GatewayProblem(
        response.status_code,
        title,
        detail,
        retry_after_s=float(retry) if retry.isdecimal() else None,
        reason=reason,
        mistakes=mistakes,
    )


def out_of_reach(base_url: str, error: Exception) -> GatewayProblem:
    """The error of a gateway that cannot be asked."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return GatewayProblem(
            0,
            "Unreachable",
            f"the certificate of {base_url} is not known here: name its file with SSL_CERT_FILE, "
            "or leave --gateway out on the machine that it runs on",
        )
    return GatewayProblem(
        0,
        "Unreachable",
        f"no gateway at {base_url} ({type(error).__name__}): start one with `genlock up`, or name yours with --gateway",
    )


class GatewayApi:
    """One gateway, one token. A context manager that closes its connections."""

    def __init__(self, base_url: str, token: str | None, *, timeout_s: float = TIMEOUT_S) -> None:
        self._base_url = base_url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # Plain HTTP has no certificate to verify: not to read the authorities' saves a sixth of a second.
        is_tls = self._base_url.startswith("https:")
        self._http = httpx.Client(base_url=self._base_url, headers=headers, timeout=timeout_s, verify=is_tls)

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

    def pools(self) -> list[dict[str, Any]]:
        return cast(list[dict[str, Any]], self._call("GET", "/api/v1/pools"))

    def pool(self, name: str) -> dict[str, Any]:
        return cast(dict[str, Any], self._call("GET", f"/api/v1/pools/{quote(name)}"))

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
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise out_of_reach(self._base_url, error) from error
        if not response.is_success:
            raise problem_of(response)
        try:
            return response.json() if response.content else None
        except ValueError:
            raise GatewayProblem(
                0, "Unreachable", f"what answers at {self._base_url} is no gateway of Genlock"
            ) from None
