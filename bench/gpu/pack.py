"""`python -m bench.gpu.pack FOLDER`: put together what measures the engine on a machine with a GPU and no network.

The folder gets `sources/`, `wheels/` and `run`; what a run has left in it stays.
"""

import argparse
import shutil
from pathlib import Path

from bench.gpu import download, sources, wheels
from supply_chain import locks

ROOT = Path(__file__).resolve().parents[2]


def pack(root: Path, folder: Path, *, encoder: bool) -> None:
    """Pack the sources of `root`. Raises download.NotLocked, subprocess.CalledProcessError (no package index)."""
    bundles = (*wheels.BUNDLES, *((wheels.ENCODER,) if encoder else ()))
    folder.mkdir(parents=True, exist_ok=True)
    download.fetch(folder / "wheels", locks.read("dev"), bundles)
    sources.copy(root, folder / "sources")
    shutil.copyfile(root / "bench" / "gpu" / "run.sh", folder / "run")
    (folder / "run").chmod(0o755)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", action="store_true", help="PyAV too, to time the video encoder (36 MB more)")
    options = parser.parse_args()
    pack(ROOT, options.folder, encoder=options.encoder)
    size = sum(path.stat().st_size for part in ("sources", "wheels") for path in (options.folder / part).rglob("*"))
    print(f"packed: {options.folder}, {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
