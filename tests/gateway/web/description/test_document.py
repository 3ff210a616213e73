"""A program can be written from `/openapi.json` alone."""

import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from genlock_core.media import Codec
from genlock_core.tokens import Role
from genlock_gateway.web.app import routers
from genlock_gateway.web.description.operations import operations
from tests.gateway.installation import Installation, until
from tests.gateway.rtc.clients import Client

Json = dict[str, Any]


@pytest.fixture
async def document(installation: Installation) -> Json:
    gateway = await installation.gateway()
    return dict((await gateway.http.get("/openapi.json")).json())


def each(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


async def talk(client: Client, messages: list[Json]) -> list[Json]:
    """Say all of it over the data channel; what is heard, once there is one of every kind that comes by itself."""
    channel = client.channel
    assert channel is not None
    await until(lambda: channel.readyState == "open")
    for message in messages:
        channel.send(json.dumps(message))

    def heard() -> list[Json]:
        return [json.loads(text) for text in client.messages]

    await until(lambda: {one["type"] for one in heard()} >= {"pong", "ack", "error", "state"})
    return heard()


def checks(document: Json, schema: str) -> Draft202012Validator:
    """Checks values against a named schema of the document."""
    registry = Registry().with_resource("urn:api", DRAFT202012.create_resource(document))
    return Draft202012Validator({"$ref": f"urn:api#/components/schemas/{schema}"}, registry=registry)


async def test_it_is_a_valid_document_of_this_release(document: Json) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"] == version("genlock")


async def test_the_table_has_a_row_for_each_route_and_no_other(installation: Installation) -> None:
    gateway = await installation.gateway()
    routes = {
        (method, getattr(route, "path_format"))  # noqa: B009 - every one of them has it
        for router in routers(gateway.gateway)
        for route in router.routes
        if getattr(route, "include_in_schema")  # noqa: B009
        for method in getattr(route, "methods")  # noqa: B009
    }
    assert set(operations()) == routes


async def test_every_operation_says_who_may_and_how_it_fails(document: Json) -> None:
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    names = [operation["operationId"] for _, _, operation in each(document)]
    assert len(names) == len(set(names))
    assert "HTTPValidationError" not in json.dumps(document)

    for method, path, operation in each(document):
        where = f"{method} {path}"
        assert operation["summary"], where
        takes_token = path.startswith(("/api/", "/whip/", "/whep/"))
        assert ({"token": []} in operation["security"]) is takes_token, where
        assert ({} in operation["security"]) is (takes_token and operation["x-role"] != "admin"), where
        failures = {status: one for status, one in operation["responses"].items() if status >= "400"}
        assert {"401", "403"} <= set(failures) if takes_token else not set(failures) - {"429", "503"}, where
        if takes_token:
            for status, failure in failures.items():
                assert set(failure["content"]) == {"application/problem+json"}, f"{where} {status}"
        named = set(re.findall(r"{([a-z]+)}", path))
        assert {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"} == named, where
        assert ("404" in failures) is bool(named and method != "OPTIONS"), where


async def test_operations_do_not_all_claim_the_same_failures(document: Json) -> None:
    claims = {frozenset(operation["responses"]) for _, _, operation in each(document)}
    assert len(claims) >= 10


async def test_events_and_messages_of_the_data_channel_have_schemas(document: Json) -> None:
    events = document["paths"]["/api/v1/sessions/{namespace}/{name}/events"]["get"]["responses"]["200"]["content"]
    assert events["text/event-stream"]["x-events"]["stats"] == {"$ref": "#/components/schemas/StreamReport"}
    url = "/whep/{namespace}/{name}/{host}/{resource}/events"
    player = document["paths"][url]["get"]["responses"]["200"]["content"]["text/event-stream"]["x-events"]
    chosen = document["paths"][url]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(player) == set(chosen["items"]["enum"])
    channel = document["x-data-channel"]
    assert channel["label"] == "control"
    for way in ("clientSends", "gatewaySends"):
        assert channel[way]["$ref"].rpartition("/")[2] in document["components"]["schemas"]


async def test_a_publisher_and_a_viewer_are_built_from_the_document_alone(
    installation: Installation, document: Json
) -> None:
    """Every method, path, header and media type below comes from the document; so does what each message is."""
    await installation.worker()
    await installation.session(access={"publish": "Token", "view": "Token"})
    base, scheme = installation.gateways[0].url, document["components"]["securitySchemes"]["token"]
    by_name = {operation["operationId"]: (method, path, operation) for method, path, operation in each(document)}
    sent: list[Json] = [
        {"type": "ping", "sentAt": 5},
        {"type": "control", "number": 1, "prompt": "rain"},
        {"type": "control"},
    ]

    async with httpx.AsyncClient(base_url=base, trust_env=False) as http:
        for name in ("publish", "view"):
            method, path, operation = by_name[name]
            token = installation.keyring.token("default/demo", Role(operation["x-role"]))
            (kind,) = operation["requestBody"]["content"]
            headers = {"Authorization": f"{scheme['scheme'].capitalize()} {token}", "Content-Type": kind}
            url = path.format(namespace="default", name="demo")

            clients = installation.clients
            client = clients.publisher(Codec.H264) if name == "publish" else clients.viewer(Codec.H264)
            client.open_channel(document["x-data-channel"]["label"])
            answer = await http.request(method, url, content=await client.offer(), headers=headers)
            described = operation["responses"][str(answer.status_code)]
            assert answer.status_code == 201
            assert set(described["content"]) == {answer.headers["content-type"].partition(";")[0]}
            told = {title for title in described["headers"] if title in answer.headers}
            assert told >= {"Location", "ETag"}
            await client.take(answer.text)
            await client.connected.wait()

            if name == "publish":
                heard = await talk(client, sent)
            method, _, operation = by_name[{"publish": "whipEnd", "view": "whepEnd"}[name]]
            ended = await http.request(method, answer.headers["Location"], headers=headers)
            assert str(ended.status_code) in operation["responses"]
            assert ended.is_success

    client_message, gateway_message = checks(document, "ClientMessage"), checks(document, "GatewayMessage")
    assert [client_message.is_valid(message) for message in sent] == [True, True, True]
    assert not client_message.is_valid({"type": "control", "steps": 9})
    for message in heard:
        gateway_message.validate(message)
    assert not gateway_message.is_valid({"type": "ack"})
