"""The REST interface: sessions as JSON, their control, their events, and what operators of an installation do.

It stands in one file because all of it is one resource, `/api/v1/sessions`.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from genlock_core.claims.facts import MoveCause, WorkerView
from genlock_core.claims.record import FINISHED, SessionRecord
from genlock_core.errors import FieldProblem
from genlock_core.sizing.candidates import PoolShape
from genlock_core.sizing.placement import Unplaceable, place, stand_in_mistakes
from genlock_core.spec.engines import engine_kind
from genlock_core.spec.manifest import load_manifest
from genlock_core.spec.rules import changed, steps_mistake
from genlock_core.spec.session import Phase, ResolvedSession, resolve
from genlock_core.stream_state.control import ControlRequest
from genlock_core.tokens import Role
from genlock_gateway.access.limits import MAX_JSON_BYTES, read_body, require_media_type
from genlock_gateway.access.problems import Problem, mistaken, with_mistakes
from genlock_gateway.gateway import STORE_TIMEOUT_S, Gateway
from genlock_gateway.sessions.session_view import (
    ControlAccepted,
    Moved,
    SessionView,
)
from genlock_gateway.sessions.showing import view_of
from genlock_gateway.sessions.sse import Listener, event_stream
from genlock_gateway.settings import SessionsFrom
from genlock_gateway.web.signalling.events import heard, stranger_of

EVENTS: Final = ("state", "stats", "reconnect")
MANIFEST_TYPES: Final = ("application/yaml", "application/x-yaml", "text/yaml", "application/json")


def router(gateway: Gateway) -> APIRouter:
    """Everything below /api/v1."""
    routes = APIRouter(prefix="/api/v1/sessions", tags=["sessions"])
    _add_reading(routes, gateway)
    _add_control(routes, gateway)
    _add_administration(routes, gateway)
    return routes


def _add_reading(routes: APIRouter, gateway: Gateway) -> None:
    @routes.get("")
    async def list_sessions(request: Request) -> list[SessionView]:
        """The sessions that the caller may watch."""
        async with asyncio.timeout(STORE_TIMEOUT_S):
            records = await gateway.reads.records.all()
        return await _shown(gateway, request, gateway.access.viewable(request, records))

    @routes.get("/{namespace}/{name}")
    async def show_session(request: Request, namespace: str, name: str) -> SessionView:
        """One session."""
        record = await gateway.session_for(request, namespace, name, Role.VIEW, fresh=False)
        (view,) = await _shown(gateway, request, [record])
        return view

    @routes.get("/{namespace}/{name}/events", response_class=Response)
    async def listen(request: Request, namespace: str, name: str) -> Response:
        """Server-sent events: `state` on change, `stats` twice a second while it runs here, `reconnect` on a drain."""
        gateway.check_open()
        record = await gateway.session_for(request, namespace, name, Role.VIEW)
        stranger = stranger_of(request)
        gateway.hub.check_room_for_listener(stranger)
        listener = Listener(EVENTS, gateway.access.role(request, record.session), stranger=stranger)
        return event_stream(heard(gateway, gateway.hub.stream(record), listener))


def _add_control(routes: APIRouter, gateway: Gateway) -> None:
    @routes.patch("/{namespace}/{name}/control", status_code=202)
    async def control(request: Request, namespace: str, name: str) -> ControlAccepted:
        """Change prompt, steps, noise scale or pause; the picture changes without a cut."""
        record = await gateway.session_for(request, namespace, name, Role.PUBLISH)
        _check_running(record)

        require_media_type(request, "application/json", "application/merge-patch+json")
        try:
            change = ControlRequest.model_validate_json(await read_body(request, limit=MAX_JSON_BYTES))
        except ValidationError as error:
            raise mistaken(error, "the change has mistakes") from None
        if mistake := steps_mistake(record.session.quality_mode, change.steps):
            raise with_mistakes(422, "the change has mistakes", (FieldProblem("steps", mistake),))

        async with asyncio.timeout(STORE_TIMEOUT_S):
            accepted = await gateway.controls.change(record.name, change)
        gateway.reads.changed(record.name)
        return accepted


def _add_administration(routes: APIRouter, gateway: Gateway) -> None:
    @routes.post("", status_code=201)
    async def create_sessions(request: Request, response: Response) -> list[SessionView]:
        """Create the sessions of a manifest, or update them (200 if none of them is new). All of them, or none."""
        gateway.check_open()
        gateway.access.require_admin(request)
        _check_sessions_are_ours(gateway, "kubectl apply -f FILE creates and changes them")

        require_media_type(request, *MANIFEST_TYPES)
        body = await read_body(request, limit=MAX_JSON_BYTES)
        try:
            manifests = load_manifest(body.decode("utf-8"), origin="request")
        except UnicodeDecodeError:
            raise Problem(400, "the manifest is not UTF-8 text") from None

        # Everything is checked before anything is stored.
        async with asyncio.timeout(STORE_TIMEOUT_S):
            wanted = [resolve(manifest.key, manifest.spec) for manifest in manifests]
            records = _placed(gateway, wanted, await gateway.claims.workers())
            known = [await gateway.claims.record(record.name) for record in records]
            _check_updates(records, known)
            new = [await _store(gateway, *pair) for pair in zip(records, known, strict=True)]
            stored = [await gateway.claims.record(record.name) for record in records]
        for record in records:
            gateway.reads.changed(record.name)

        response.status_code = 201 if any(new) else 200
        return await _shown(gateway, request, [record for record in stored if record is not None])

    @routes.delete("/{namespace}/{name}", status_code=204)
    async def end_session(request: Request, namespace: str, name: str) -> Response:
        """End the session: its clients are told, its record stays for a while. Once more: the record goes too."""
        gateway.access.require_admin(request)
        record = await gateway.session(namespace, name, fresh=True)
        _check_sessions_are_ours(
            gateway, f"kubectl delete streamsession {record.session.key.name} -n {record.session.key.namespace} ends it"
        )
        async with asyncio.timeout(STORE_TIMEOUT_S):
            if record.finished:
                await gateway.session_data.forget(record.name)
            else:
                await _end(gateway, record)
        gateway.reads.changed(record.name)
        return Response(status_code=204)

    @routes.post("/{namespace}/{name}/start")
    async def start_again(request: Request, namespace: str, name: str) -> SessionView:
        """Bring an ended session back as its manifest had it, with nothing of its old pictures; a running one is left
        alone. It takes the right to publish: who may not have it back deletes its record (DELETE once more)."""
        gateway.check_open()
        record = await gateway.session_for(request, namespace, name, Role.PUBLISH)
        key = record.session.key
        _check_sessions_are_ours(gateway, f"kubectl replace --force -f FILE starts {key.name} in {key.namespace} again")

        async with asyncio.timeout(STORE_TIMEOUT_S):
            if record.finished:
                (again,) = _placed(gateway, [record.session], await gateway.claims.workers())
                await _store(gateway, again, record)
            current = await gateway.claims.record(record.name)
        gateway.reads.changed(record.name)
        (view,) = await _shown(gateway, request, [current or record])
        return view

    @routes.post("/{namespace}/{name}/move")
    async def move(request: Request, namespace: str, name: str) -> Moved:
        """Move the session to another worker, politely: no freeze. 503 if no other one has room."""
        gateway.access.require_admin(request)
        record = await gateway.session(namespace, name, fresh=True)
        _check_running(record)
        if record.owner is None:
            raise Problem(409, f"{record.name}: no worker has it, so there is nothing to move")

        async with asyncio.timeout(STORE_TIMEOUT_S):
            moved = await gateway.claims.move(
                record.name, expected_epoch=record.epoch, suspect=record.owner.name, cause=MoveCause.REQUESTED
            )
        gateway.reads.changed(record.name)
        result = "won" if moved.won else "adopted"
        gateway.metrics.moves.labels(cause=MoveCause.REQUESTED.value, result=result).inc()
        return Moved(worker=moved.claim.worker.name, epoch=moved.claim.epoch)


async def _shown(gateway: Gateway, request: Request, records: Sequence[SessionRecord]) -> list[SessionView]:
    """The sessions as the caller may see them, with what this gateway knows of them."""
    async with asyncio.timeout(STORE_TIMEOUT_S):
        surroundings = await gateway.reads.surroundings.of(records)

    views: list[SessionView] = []
    for record in records:
        role = gateway.access.role(request, record.session)
        stream = gateway.hub.find(record.name)
        if stream is None or stream.end_reason:
            shared = gateway.hub.shared
            view = view_of(
                record, role=role, surroundings=surroundings[record.name], may_start_again=shared.may_start_again
            )
        else:
            # What was just read may be newer than what the stream knows.
            stream.updated(record)
            stream.surroundings = surroundings[record.name]
            view = stream.view(role)
        views.append(view)
    return views


def _check_sessions_are_ours(gateway: Gateway, instead: str) -> None:
    """On a cluster a session is what its resource says: the operator would undo whatever else is done to it."""
    if gateway.settings.sessions is SessionsFrom.CLUSTER:
        raise Problem(403, f"sessions are StreamSession resources of the cluster: {instead}")


def _check_running(record: SessionRecord) -> None:
    if record.phase in FINISHED:
        raise Problem(410, f"{record.name}: the session has ended")


def pools_of(workers: list[WorkerView]) -> list[PoolShape]:
    """The pools that these workers make up.

    While the workers of a pool are replaced, those that name their engine speak for it.
    """
    shapes = {
        view.pool: PoolShape(
            name=view.pool,
            model=view.model,
            gpu_product=view.gpu_product,
            gpus=view.gpus,
            engine=engine_kind(view.engine),
        )
        for view in sorted(workers, key=lambda view: view.engine != "")
    }
    return list(shapes.values())


def _placed(gateway: Gateway, sessions: Sequence[ResolvedSession], workers: list[WorkerView]) -> list[SessionRecord]:
    """The records to store, sized for the pools of the live workers. Raises Problem (422) if one cannot be served."""
    shapes = pools_of(workers)
    records: list[SessionRecord] = []
    mistakes: list[FieldProblem] = []
    for session in sessions:
        mistakes += [FieldProblem(str(session.key), told) for told in stand_in_mistakes(session, gateway.profiles)]
        placement = place(session, gateway.profiles, shapes)
        if isinstance(placement, Unplaceable):
            mistakes += [FieldProblem(str(session.key), reason) for reason in placement.reasons]
        else:
            records.append(
                SessionRecord(session=session, pools=placement.choices, key_ids=gateway.access.keyring.key_ids)
            )

    if mistakes:
        raise with_mistakes(422, "no pool can serve this in time", tuple(mistakes))
    return records


def _check_updates(records: list[SessionRecord], known: list[SessionRecord | None]) -> None:
    """Raises Problem (422) with every field that was changed and never changes."""
    for record, before in zip(records, known, strict=True):
        if before is None or before.finished:
            continue
        old, new = (one.session.model_dump(mode="json", by_alias=True) for one in (before, record))
        fixed = tuple(FieldProblem(f"spec.{mistake.path}", mistake.message) for mistake in changed(old, new))
        if fixed:
            raise with_mistakes(422, f"{record.name} lives already", fixed)


async def _store(gateway: Gateway, record: SessionRecord, before: SessionRecord | None) -> bool:
    """Write the record; a session that had ended starts anew, one that lives is steered. True if it is new."""
    if before is not None and before.finished:
        await gateway.session_data.forget(record.name)

    created = await gateway.claims.create(record)
    if not created and before is not None:
        old, new = before.session, record.session
        change = {
            "prompt": new.prompt if new.prompt != old.prompt else None,
            "steps": new.steps if new.steps != old.steps else None,
            "noise_scale": new.noise_scale if new.noise_scale != old.noise_scale else None,
        }
        if any(value is not None for value in change.values()):
            await gateway.controls.change(record.name, ControlRequest.model_validate(change))
    return created


async def _end(gateway: Gateway, record: SessionRecord) -> None:
    """Give the claim back, whoever holds it by now."""
    # The session may move meanwhile: then it is tried again under its new claim.
    current: SessionRecord | None = record
    while current is not None and not current.finished:
        if current.owner is None:
            ended = await gateway.claims.set_phase(record.name, 0, Phase.ENDED, "Deleted")
        else:
            ended = await gateway.claims.release(record.name, epoch=current.epoch, phase=Phase.ENDED, reason="Deleted")
        current = None if ended else await gateway.claims.record(record.name)
