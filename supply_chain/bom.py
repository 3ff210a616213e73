"""A part of Genlock as a bill of materials (CycloneDX 1.5): every package that it is installed with, and its license.

Which packages and which hashes, the part's lock says; license and needs, the metadata of what is installed here. Both
have to agree on the version, so a bill tells of nothing that is not there.
"""

import importlib.metadata
import platform
import sys
import tomllib
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any, Final

from cyclonedx.contrib.hash.factories import HashTypeFactory
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import License
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from supply_chain.locks import Pin

PROJECT: Final = Path(__file__).parents[1] / "pyproject.toml"
SHORT: Final = 60
"""Characters; a field `License` that is longer holds the text of a license and not its name."""


class NotInstalled(Exception):
    """A package of the lock is not installed here, or at another version."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package that is installed as its lock says."""

    pin: Pin

    licenses: tuple[str, ...]
    """One SPDX expression, or the names that the package gives; empty where it gives none."""


def packages(pins: Iterable[Pin]) -> list[Package]:
    """What of a lock is installed on this platform. Raises NotInstalled."""
    return [_package(pin) for pin in pins if not pin.marker or Marker(pin.marker).evaluate()]


def _package(pin: Pin) -> Package:
    try:
        found = importlib.metadata.distribution(pin.name)
    except importlib.metadata.PackageNotFoundError:
        raise NotInstalled(f"{pin.name} is not installed: make install") from None
    if found.version != pin.version:
        raise NotInstalled(f"{pin.name} is installed as {found.version}, the lock says {pin.version}: make install")
    return Package(pin=pin, licenses=tuple(licenses_of(found)))


def licenses_of(found: Distribution) -> list[str]:
    """The license by the metadata: the SPDX expression (PEP 639), else the name, else the classifiers."""
    expressions = found.metadata.get_all("License-Expression")
    if expressions:
        return expressions[:1]

    name = "".join(found.metadata.get_all("License") or []).strip()
    if name and len(name) <= SHORT and "\n" not in name:
        return [name]

    classifiers = found.metadata.get_all("Classifier") or []
    return [one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License :: OSI Approved :: ")]


def needs(direct: Iterable[Requirement]) -> dict[str, set[str]]:
    """Which package needs which others here, of all that these requirements and their extras pull."""
    found: dict[str, set[str]] = {}
    seen: set[tuple[str, str]] = set()
    waiting = list(direct)
    while waiting:
        need = waiting.pop()
        name = canonicalize_name(need.name)
        for extra in ("", *need.extras):
            if (name, extra) in seen:
                continue

            seen.add((name, extra))
            asked = _that_hold(importlib.metadata.requires(name) or [], extra)
            found.setdefault(name, set()).update(canonicalize_name(one.name) for one in asked)
            waiting += asked
    return found


def _that_hold(lines: Iterable[str], extra: str = "") -> list[Requirement]:
    asked = [Requirement(line) for line in lines]
    return [one for one in asked if one.marker is None or one.marker.evaluate({"extra": extra})]


def direct_needs(project: Mapping[str, Any], part: str) -> list[Requirement]:
    """What an extra of a project file asks for here, with the extras of ours that it includes."""
    found = _that_hold([*project["dependencies"], *project["optional-dependencies"][part]])
    included = [extra for one in found if one.name == project["name"] for extra in one.extras]
    return [one for one in found if one.name != project["name"]] + [
        one for extra in included for one in direct_needs(project, extra)
    ]


def bill(part: str, title: str, found: list[Package], *, now: datetime) -> str:
    """The bill of materials of a part, as JSON.

    `part` is its extra in pyproject.toml, `title` the name of the program. Two bills of the same packages have the same
    serial number.
    """
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    own = Component(
        name=title,
        type=ComponentType.APPLICATION,
        bom_ref=title,
        version=project["version"],
        licenses=[_license(project["license"])],
        purl=PackageURL("pypi", name=project["name"], version=project["version"], qualifiers={"extra": part}),
    )
    components = {one.pin.name: _component(one) for one in found}

    direct = direct_needs(project, part)
    edges = {title: {canonicalize_name(one.name) for one in direct}} | needs(direct)
    dependencies = [
        Dependency(component.bom_ref, [Dependency(components[name].bom_ref) for name in sorted(edges.get(of, set()))])
        for of, component in {title: own, **components}.items()
    ]

    content = "\n".join(one.pin.requirement() for one in found)
    made = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"{title} {project['version']}\n{content}"),
        metadata=BomMetaData(component=own, timestamp=now, properties=_where()),
        components=components.values(),
        dependencies=dependencies,
    )
    outputter = make_outputter(made, OutputFormat.JSON, SchemaVersion.V1_5)
    return outputter.output_as_string(indent=2) + "\n"


def _component(package: Package) -> Component:
    pin = package.pin
    purl = PackageURL("pypi", name=pin.name, version=pin.version)
    return Component(
        name=pin.name,
        version=pin.version,
        bom_ref=str(purl),
        purl=purl,
        licenses=[_license(one) for one in package.licenses],
        # Not `hashes`: these are of all files of the version, and one of them is installed.
        external_references=[
            ExternalReference(
                type=ExternalReferenceType.DISTRIBUTION,
                url=XsUri(str(purl)),
                hashes=[HashTypeFactory().from_composite_str(one) for one in pin.hashes],
            )
        ],
    )


def _license(text: str) -> License:
    return LicenseFactory().make_from_string(text)


def _where() -> list[Property]:
    return [
        Property(name="genlock:python", value=platform.python_version()),
        Property(name="genlock:platform", value=f"{sys.platform} {platform.machine()}"),
    ]
