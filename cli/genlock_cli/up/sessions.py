"""Which sessions `genlock up` serves: those of its manifests, or the demo with the model that was asked for."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from genlock_cli.session.manifests import STDIN, read_texts
from genlock_cli.up.hardware import Hardware
from genlock_core.errors import BadInput
from genlock_core.sizing.engine_rows import rows_for
from genlock_core.sizing.placement import stand_in_mistakes
from genlock_core.sizing.profile import ProfileRow
from genlock_core.spec.engines import Coders, EngineKind
from genlock_core.spec.manifest import Manifest, load_manifest
from genlock_core.spec.session import AccessSpec, ResolvedSession, SessionKey, SourceType, resolve

DEMO = Path("examples") / "demo.yaml"


def default_manifest() -> Path:
    """`examples/demo.yaml` of the folder one is in, else the one that came with the package."""
    installed = Path(__file__).resolve().parents[1] / DEMO
    checkout = Path(__file__).resolve().parents[3] / DEMO
    for candidate in (DEMO, checkout, installed):
        if candidate.is_file():
            return candidate
    raise BadInput(f"there is no {DEMO} here; name a manifest: genlock up my-session.yaml")


def read_sessions(*manifests: Path | str) -> list[ResolvedSession]:
    """The sessions of all manifests, resolved; `-` is stdin. Raises BadInput (InvalidManifest with every mistake)."""
    return [resolve(manifest.key, manifest.spec) for manifest in _manifests(manifests)]


def media_root_of(manifests: Sequence[Path | str], sessions: Sequence[ResolvedSession]) -> Path:
    """Files that sessions play lie beside their manifest unless --media-root says otherwise. Raises BadInput where
    manifests of several folders leave it open."""
    folders = {Path().resolve() if str(one) == STDIN else Path(one).resolve().parent for one in manifests}
    if len(folders) > 1 and any(session.source.type is SourceType.FILE for session in sessions):
        raise BadInput("the manifests lie in several folders; say with --media-root where the files lie that they play")
    return Path(manifests[0]).resolve().parent if str(manifests[0]) != STDIN else Path().resolve()


def demo_sessions(
    path: Path,
    model: str,
    rows: Sequence[ProfileRow],
    there: Hardware,
    *,
    engine: EngineKind,
    coders: Coders = Coders(),  # noqa: B008 - it is frozen
) -> list[ResolvedSession]:
    """The demo's sessions with another model, at a size and a rate that it was measured to serve on this hardware.

    The size is that of the model's first row here, the steps are the demo's where they are fast enough. Where nobody
    measured the model on such hardware its first row stands in, and placement will say what is missing. Raises
    BadInput if there is no profile of the model at all.
    """
    measured = [row for row in rows if row.model == model]
    on = rows_for(rows, engine=engine, model=model, gpu_product=there.gpu_product, gpus=there.gpus, coders=coders)
    here = on or measured
    if not here:
        known = ", ".join(sorted({row.model for row in rows}))
        raise BadInput(
            f"there is no profile of the model {model} (profiled: {known}); "
            "measure it with `genlock profile` and name its file with --profile"
        )
    resolution = here[0].resolution
    sessions = []
    for manifest in _manifests([path]):
        wanted = resolve(manifest.key, manifest.spec)
        fitting = [row for row in here if row.resolution == resolution and row.steps <= wanted.steps]
        row = max(fitting, key=lambda one: (one.fps_per_session >= wanted.frame_rate, one.steps), default=here[0])
        spec = manifest.spec.model_copy(
            update={
                "model": model,
                "resolution": resolution,
                "steps": row.steps,
                "frame_rate": max(1, min(wanted.frame_rate, int(row.fps_per_session))),
            }
        )
        sessions.append(resolve(manifest.key, spec))
    return sessions


def shown_on(sessions: Sequence[ResolvedSession], origins: Sequence[str]) -> list[ResolvedSession]:
    """The sessions, which pages of these origins may show beside those that the manifest names. Raises BadInput."""
    shown = []
    for session in sessions:
        named = dict.fromkeys((*session.access.origins, *origins))
        try:
            access = AccessSpec(publish=session.access.publish, view=session.access.view, origins=tuple(named))
        except ValidationError as error:
            mistake = error.errors(include_url=False)[0]
            what = f" {mistake['input']!r}" if isinstance(mistake["input"], str) else ""
            raise BadInput(f"--origin{what}: {mistake['msg'].removeprefix('Value error, ')}") from None
        shown.append(session.model_copy(update={"access": access}))
    return shown


def require_model(sessions: Sequence[ResolvedSession], model: str) -> None:
    """Raises BadInput if a session of the manifest names another model than the command line."""
    for session in sessions:
        if session.model != model:
            raise BadInput(
                f"the session {session.key} wants the model {session.model}, --model says {model}; "
                "leave --model out, or change the manifest"
            )


def require_stand_ins(sessions: Sequence[ResolvedSession], rows: Sequence[ProfileRow]) -> None:
    """Raises BadInput if a model that may stand in was never measured: nobody could say what a session costs there."""
    mistakes = [f"{session.key}: {told}" for session in sessions for told in stand_in_mistakes(session, rows)]
    if mistakes:
        raise BadInput("; ".join(mistakes))


def _manifests(names: Sequence[Path | str]) -> list[Manifest]:
    found: dict[SessionKey, str] = {}
    manifests: list[Manifest] = []
    for origin, text in read_texts([str(name) for name in names]).items():
        for manifest in load_manifest(text, origin=origin):
            if manifest.key in found:
                raise BadInput(f"the session {manifest.key} is in {found[manifest.key]} and in {origin}; take one out")
            found[manifest.key] = origin
            manifests.append(manifest)
    return manifests
