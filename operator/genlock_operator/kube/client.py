"""KubeApi over the transport of `kubernetes.aio`: its TLS, its credentials, plain JSON in and out.

The models of the client are left aside: they cost ten times the JSON, and our resources are none of them.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration

from genlock_operator.kube.api import Body, Resource
from genlock_operator.kube.errors import KubeError, Unavailable, of_answer

TIMEOUT_S = 10.0
PAGE = 500
"""Objects that are listed with one request."""
MERGE_PATCH = "application/merge-patch+json"
JSON = "application/json"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

Measure: TypeAlias = Callable[[str, str, int, float], None]
"""Told of every request: verb, plural, HTTP status (0: no answer), seconds."""


class KubeClient:
    """One connection pool to one API server."""

    def __init__(self, configuration: Configuration, *, measure: Measure, timeout_s: float = TIMEOUT_S) -> None:
        self._api = ApiClient(configuration)
        self._measure = measure
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def close(self) -> None:
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Body:
        return await self._request("get", resource, resource.path(namespace, name))

    async def list_names(
        self, resource: Resource, namespace: str | None, *, labels: str = "", only_first: bool = False
    ) -> dict[str, str]:
        query = [("limit", str(1 if only_first else PAGE))] + ([("labelSelector", labels)] if labels else [])
        found: dict[str, str] = {}

        # The API server gives a list in pages, each with a token for the next one.
        more = ""
        while True:
            page = await self._request(
                "list",
                resource,
                resource.path(namespace),
                query=query + ([("continue", more)] if more else []),
                accept=_METADATA_LIST,
            )
            for item in page.get("items") or ():
                meta = item["metadata"]
                found[f"{meta.get('namespace', '')}/{meta['name']}"] = meta["uid"]
            more = page["metadata"].get("continue", "")
            if only_first or not more:
                return found

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body:
        return await self._request("create", resource, resource.path(namespace), body=body)

    async def patch(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> Body:
        return await self._request("patch", resource, resource.path(namespace, name), body=body)

    async def patch_status(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> Body:
        return await self._request("patch", resource, resource.path(namespace, name, "status"), body=body)

    async def delete(self, resource: Resource, namespace: str | None, name: str, *, uid: str) -> None:
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        await self._request("delete", resource, resource.path(namespace, name), body=options)

    async def _request(
        self,
        verb: str,
        resource: Resource,
        path: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: Mapping[str, Any] | None = None,
        accept: str = JSON,
    ) -> Body:
        method = {"get": "GET", "list": "GET", "create": "POST", "patch": "PATCH", "delete": "DELETE"}[verb]
        headers = {"Accept": accept, "Content-Type": MERGE_PATCH if verb == "patch" else JSON}
        what = f"{verb} {path}"
        code = 0
        started = time.monotonic()
        # The client's own way signs the request and knows the URL; its models are left out on both sides.
        try:
            sent = await self._api.param_serialize(
                method, path, query_params=query or [], header_params=headers, auth_settings=["BearerToken"]
            )
            response = await self._api.rest_client.request(  # type: ignore[no-untyped-call]
                method, sent[1], headers=sent[2], body=body, _request_timeout=self._timeout
            )
            code = response.status
            text = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            code = 0  # an answer whose body did not come is none
            raise Unavailable(what, code=0, message=str(error) or type(error).__name__) from error
        finally:
            self._measure(verb, resource.plural, code, time.monotonic() - started)

        if 200 <= code < 300:
            return _object(what, code, text)
        raise _refusal(what, code, text)


def _object(what: str, code: int, text: bytes) -> Body:
    """The object that was answered. Raises Unavailable: what is none comes from a proxy in between."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unavailable(what, code=code, message=f"no object of JSON: {text[:200].decode(errors='replace')}")
    return found


def _refusal(what: str, code: int, text: bytes) -> KubeError:
    """The error that the API server's Status object tells of; proxies in between answer other things."""
    try:
        status = json.loads(text)
        return of_answer(what, code, str(status.get("reason", "")), str(status.get("message", "")))
    except (ValueError, AttributeError):
        return of_answer(what, code, "", text[:200].decode(errors="replace"))
