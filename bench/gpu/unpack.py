"""`python -m bench.gpu.unpack WHEELS SITE`: lay the libraries out that this machine lacks. Standard library alone.

A wheel is a zip of what lies on the import path, so it is unpacked and not installed: nothing of the machine changes.
A library that the machine has is left alone, whatever its version.
"""

import argparse
import importlib.util
import zipfile
from pathlib import Path

from bench.gpu.wheels import BUNDLES, ENCODER, Bundle, wheels_of


def missing() -> list[Bundle]:
    """The bundles whose module cannot be imported here."""
    return [bundle for bundle in (*BUNDLES, ENCODER) if importlib.util.find_spec(bundle.module) is None]


def unpack(wheels: Path, site: Path, bundles: list[Bundle]) -> list[str]:
    """Unpack the wheels of these bundles into `site`, as far as they were packed; their file names."""
    unpacked = []
    for bundle in bundles:
        for wheel in wheels_of(wheels, bundle.distributions):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
            unpacked.append(wheel.name)
    return unpacked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheels", type=Path)
    parser.add_argument("site", type=Path)
    options = parser.parse_args()
    for name in unpack(options.wheels, options.site, missing()):
        print(f"unpacked: {name}")


if __name__ == "__main__":
    main()
