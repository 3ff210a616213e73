#!/usr/bin/env bash
# Measures the diffusion engine on this machine; packed by `make gpu` as `run`, beside sources/ and wheels/.
# `./run --help` says the options. Results go to $OUT (out/ beside this file); PYTHON names another Python than python3.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${OUT:-$here/out}"
out=$(cd "${OUT:-$here/out}" && pwd)
python=${PYTHON:-python3}

site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT

cd "$here/sources"
"$python" -m bench.gpu.unpack "$here/wheels" "$site"

export OUT="$out" PYTHONPATH="$site:$PWD/core:$PWD/worker:$PWD" PYTHONUNBUFFERED=1
"$python" -m bench.gpu "$@"
