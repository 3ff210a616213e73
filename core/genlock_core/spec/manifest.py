"""StreamSession manifests: from text to checked sessions, with every mistake at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from genlock_core.errors import FieldProblem, InvalidManifest
from genlock_core.spec import rules
from genlock_core.spec.documents import Document, read_documents
from genlock_core.spec.mistakes import Path, did_you_mean, validate
from genlock_core.spec.session import DNS_LABEL, KIND, Model, SessionKey, StreamSessionSpec

_SERVER_SET = frozenset({
    "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generation", "managedFields",
    "ownerReferences", "resourceVersion", "selfLink", "uid",
})  # fmt: skip
"""Fields of `metadata` that an API server adds; a manifest that was read from a cluster is welcome here."""
_CLUSTER_KINDS = ("WorkerPool", "ModelProfile")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One StreamSession as it was written."""

    key: SessionKey
    spec: StreamSessionSpec
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


class _Metadata(Model):
    name: Annotated[str, Field(pattern=DNS_LABEL)]
    namespace: Annotated[str, Field(pattern=DNS_LABEL)] = "default"
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class _StreamSession(Model):
    model_config = ConfigDict(title=KIND)

    api_version: Literal["genlock.dev/v1alpha1"]
    kind: Literal["StreamSession"]
    metadata: _Metadata
    spec: StreamSessionSpec


def load_manifest(text: str, *, origin: str = "manifest") -> list[Manifest]:
    """Every StreamSession of a YAML (or JSON) text, at least one.

    Raises InvalidManifest with all mistakes of all documents; `origin` (a file name, `request`) heads its message.
    """
    documents = read_documents(text, origin=origin)
    problems: list[FieldProblem] = []
    manifests: list[Manifest] = []
    for document in documents:
        manifest, mistakes = _read(document)
        problems += [FieldProblem(document.at(path), message) for path, message in mistakes]
        if manifest is None:
            continue
        if any(other.key == manifest.key for other in manifests):
            problems.append(FieldProblem(document.at(("metadata", "name")), f"{manifest.key} is there already"))
        manifests.append(manifest)
    if not documents:
        problems.append(FieldProblem("manifest", f"is empty; it needs a document of kind {KIND}"))
    if problems:
        raise InvalidManifest(problems, origin=origin)
    return manifests


def _read(document: Document) -> tuple[Manifest | None, list[tuple[Path, str]]]:
    """A document's session, or all its mistakes."""
    value = document.value
    if not isinstance(value, dict):
        return None, [((), "must hold fields, written as name: value")]
    if (kind := value.get("kind")) not in (None, KIND):
        if kind in _CLUSTER_KINDS:
            return None, [(("kind",), f"must be {KIND}; a {kind} is for a cluster, kubectl apply takes it")]
        hint = did_you_mean(kind, [KIND]) if isinstance(kind, str) else ""
        return None, [(("kind",), f"must be {KIND}, not {str(kind)[:40]!r}{hint}")]
    metadata = value.get("metadata")
    if isinstance(metadata, dict):
        metadata = {name: inner for name, inner in metadata.items() if name not in _SERVER_SET}
    value = {name: inner for name, inner in value.items() if name != "status"}
    read, mistakes = validate(_StreamSession, value if metadata is None else {**value, "metadata": metadata})
    mistakes += _broken_rules(value.get("spec"), [path for path, _ in mistakes])
    if read is None or mistakes:
        return None, mistakes
    key = SessionKey(namespace=read.metadata.namespace, name=read.metadata.name)
    return Manifest(key, read.spec, read.metadata.labels, read.metadata.annotations), []


def _broken_rules(spec: Any, bad: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Rules across fields, as far as the fields that they read are right."""
    if not isinstance(spec, dict):
        return
    unknown = [path[1:] for path in bad if path[0] == "spec"]
    whole = _merged(_wire(StreamSessionSpec()), spec)
    for scope in dict.fromkeys(rule.scope for rule in rules.RULES):
        if any(path == scope[: len(path)] for path in unknown):
            continue
        below = [".".join(map(str, path[len(scope) :])) for path in unknown if path[: len(scope)] == scope]
        here = rules.look_up(whole, ".".join(scope)) if scope else whole
        scoped = [rule for rule in rules.RULES if rule.scope == scope]
        for problem in rules.broken(here, scoped, unknown=below):
            yield ("spec", *scope, *problem.path.split(".")), problem.message


def _merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(defaults)
    for name, value in given.items():
        inner = merged.get(name)
        merged[name] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _wire(spec: StreamSessionSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True)
