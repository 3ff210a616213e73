"""The bills of materials: valid CycloneDX, with all that a part is installed with and nothing else."""

import json
from datetime import UTC, datetime
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.markers import Marker

from supply_chain import bom, locks, sbom

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def bills(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("sbom")
    sbom.write(folder, now=NOW)
    return {path.name.removesuffix(".cdx.json"): path.read_text() for path in folder.iterdir()}


def of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def test_there_is_a_bill_of_each_part(bills: dict[str, str]) -> None:
    assert set(bills) == {"operator", "gateway", "worker", "diffusion", "local"}


@pytest.mark.parametrize("part", sbom.PARTS)
def test_a_bill_is_valid_by_the_schema_of_cyclonedx(part: str, bills: dict[str, str]) -> None:
    assert of(bills[part])["specVersion"] == "1.5"
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(bills[part]) is None


def test_the_schema_would_notice_a_mistake(bills: dict[str, str]) -> None:
    wrong = bills["worker"].replace('"type": "library"', '"type": "book"')
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(wrong) is not None


@pytest.mark.parametrize("part", sbom.PARTS)
def test_a_bill_has_the_packages_of_the_lock_that_are_installed_here(part: str, bills: dict[str, str]) -> None:
    pins = [pin for pin in locks.read(part) if not pin.marker or Marker(pin.marker).evaluate()]
    found = {(one["name"], one["version"]): one for one in of(bills[part])["components"]}
    assert set(found) == {(pin.name, pin.version) for pin in pins}
    for pin in pins:
        (where,) = found[pin.name, pin.version]["externalReferences"]
        assert {f"sha256:{one['content']}" for one in where["hashes"]} == set(pin.hashes)


@pytest.mark.parametrize("part", sbom.PARTS)
def test_every_package_is_needed_by_another_one_or_by_the_part(part: str, bills: dict[str, str]) -> None:
    bill = of(bills[part])
    edges = {one["ref"]: set(one.get("dependsOn", [])) for one in bill["dependencies"]}
    reached, waiting = set[str](), {bill["metadata"]["component"]["bom-ref"]}
    while waiting:
        ref = waiting.pop()
        reached.add(ref)
        waiting |= edges[ref] - reached
    assert reached == set(edges)
    assert {one["bom-ref"] for one in bill["components"]} < reached


def test_a_package_has_its_license(bills: dict[str, str]) -> None:
    found = {one["name"]: one.get("licenses", []) for one in of(bills["gateway"])["components"]}
    assert found["aiortc"] == [{"license": {"id": "BSD-3-Clause"}}]
    assert [name for name, licenses in found.items() if not licenses] == []


def test_the_same_packages_have_the_same_serial_number_and_others_another(bills: dict[str, str]) -> None:
    packages = bom.packages(locks.read("worker"))
    again = of(bom.bill("worker", "genlock-worker", packages, now=datetime(2027, 1, 1, tzinfo=UTC)))
    fewer = of(bom.bill("worker", "genlock-worker", [*packages, packages[0]], now=NOW))
    assert again["serialNumber"] == of(bills["worker"])["serialNumber"] != fewer["serialNumber"]


@pytest.mark.parametrize(
    ("metadata", "licenses"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: old", ["MIT OR Apache-2.0"]),
        ("License: Apache 2.0\nClassifier: License :: OSI Approved :: MIT License", ["Apache 2.0"]),
        (f"License: {'the whole text ' * 20}\nClassifier: License :: OSI Approved :: MIT License", ["MIT License"]),
        ("Classifier: License :: OSI Approved :: BSD License\nClassifier: Topic :: Video", ["BSD License"]),
        ("Summary: says nothing", []),
    ],
)
def test_a_license_is_read_from_the_metadata(metadata: str, licenses: list[str], tmp_path: Path) -> None:
    (tmp_path / "METADATA").write_text(f"Metadata-Version: 2.4\nName: x\nVersion: 1\n{metadata}\n")
    assert bom.licenses_of(PathDistribution(tmp_path)) == licenses


def test_what_is_not_installed_as_the_lock_says_is_in_no_bill() -> None:
    (pin,) = [pin for pin in locks.read("gateway") if pin.name == "aiortc"]
    with pytest.raises(bom.NotInstalled, match=r"aiortc is installed as .*, the lock says 0.1: make install"):
        bom.packages([locks.Pin("aiortc", "0.1", "", pin.hashes)])
    with pytest.raises(bom.NotInstalled, match="no-such-package is not installed"):
        bom.packages([locks.Pin("no-such-package", "1", "", pin.hashes)])
    assert bom.packages([locks.Pin("no-such-package", "1", "sys_platform == 'win32'", pin.hashes)]) == []
