"""`python -m supply_chain.sbom FOLDER` (make sbom): a bill of materials of each part, FOLDER/PART.cdx.json."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from supply_chain import bom, locks

PARTS: Final = {
    "operator": "genlock-operator",
    "gateway": "genlock-gateway",
    "worker": "genlock-worker",
    "diffusion": "genlock-worker-diffusion",
    "local": "genlock",
}
"""Each extra that something is installed by, and what that is: the images, and what `make up` runs."""


def write(folder: Path, *, now: datetime) -> None:
    """Write the bills. Raises bom.NotInstalled; then nothing is written."""
    found = {part: bom.packages(locks.read(part)) for part in PARTS}
    folder.mkdir(parents=True, exist_ok=True)
    for part, packages in found.items():
        path = folder / f"{part}.cdx.json"
        path.write_text(bom.bill(part, PARTS[part], packages, now=now), encoding="utf-8")
        silent = [one.pin.name for one in packages if not one.licenses]
        names = f", without a license in their metadata: {', '.join(silent)}" if silent else ""
        print(f"sbom: {path}, {len(packages)} packages{names}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="make sbom", description=__doc__)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        write(options.folder, now=datetime.now(UTC))
    except bom.NotInstalled as wrong:
        sys.exit(f"sbom: {wrong}")


if __name__ == "__main__":
    main()
