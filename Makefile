# Needs Python 3.11 or newer and make; everything else is installed into .venv, at the versions and by the
# hashes of requirements/*.lock.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help up diffusion install prometheus test test-unit test-unit-others test-unit-torch test-apiserver test-process coverage envtest e2e e2e-down mutation fuzz clients clients-install nightly check bench bench-operator chaos gpu gpu-dry screenshots lock sbom advisories base-digests clean

VENV := .venv
BIN := $(VENV)/bin
# The tools that look after what Genlock is made of; apart, as they bring a pip of their own.
SUPPLY := build/supply
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# What these locks name, by its hashes, and nothing that they do not name.
locked = $(PIP) install --require-hashes $(foreach lock,$(1),--requirement requirements/$(lock).lock)
# Genlock itself is a link to this folder; what builds it is not fetched anew, it came with build.lock.
linked = $(PIP) install --no-deps --no-build-isolation --editable .
# The first Python that is new enough; 3.11 and 3.12 come first, as only for them PyPI has a redis-server.
PYTHON ?= $(shell for python in python3.11 python3.12 python3 python3.13 python3.14 python; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$python; break; fi; done)

# A virtual environment whose Python has gone (an upgraded system) is no installation.
$(shell test -x $(BIN)/python || rm -f $(VENV)/.local $(VENV)/.diffusion $(VENV)/.dev)

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' Makefile

up: $(VENV)/.local ## Run everything on this machine; ARGS="..." goes to `genlock up`
	@$(BIN)/genlock up $(ARGS)

diffusion: $(VENV)/.diffusion ## Add the real engine to what `make up` uses: torch, about 2.6 GB; then ARGS="--engine diffusion"

# The test modules that name one of these marks. Collecting the others would import torch and aiortc for nothing.
marked = $$(grep -rlE --include='test_*.py' 'mark\.($(1))\b' tests | sort)

test: ## Run the tests: first those of one process, then an API server, real processes, a real browser
	@$(MAKE) --no-print-directory test-unit
	@$(MAKE) --no-print-directory test-apiserver
	@$(MAKE) --no-print-directory test-process

UNIT := -m "not process and not browser and not apiserver and not clients" --durations=10
# Whose modules import torch, which takes as long as all other imports together: they have one process to themselves.
TORCH := tests/bench/counted tests/bench/gpu tests/bench/test_host.py tests/cli/test_models.py tests/worker/engines/diffusion

test-unit: $(VENV)/.dev build/prometheus/.debian ## Run the tests that start no process of Genlock, on every core
	@$(MAKE) --no-print-directory -j 2 test-unit-others test-unit-torch

test-unit-others: $(VENV)/.dev
	@echo "test: without processes of Genlock, file by file on every core"
	@$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile $(UNIT) $(TORCH:%=--ignore=%)

# It runs beside the others, and says at its end what it has to say.
test-unit-torch: $(VENV)/.dev
	@mkdir -p build
	@$(BIN)/python -m pytest $(UNIT) $(TORCH) >build/test-unit-torch.log 2>&1; status=$$?; \
	 echo "test: with torch, in one process"; cat build/test-unit-torch.log; exit $$status

test-apiserver: $(VENV)/.dev ## Run the tests against a real kube-apiserver
	@echo "test: against a real kube-apiserver (skipped where there is none: make envtest)"
	@$(BIN)/python -m pytest -m "apiserver and not process and not browser" --durations=10 $(call marked,apiserver)

test-process: $(VENV)/.dev ## Run the tests with real processes and a real browser
	@$(BIN)/python -m tests.browsers
	@echo "test: a real browser, two files at a time"
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "browser and not process" --durations=10 $(call marked,browser)
	@echo "test: real processes"
	@$(BIN)/python -m pytest -m process --durations=10 $(call marked,process)

clients: $(VENV)/.dev clients-install ## Publish and watch with each client that we know; ARGS=--write writes docs/clients.md
	@$(BIN)/python -m tests.browsers
	@echo "clients: each of them publishes to genlock up and watches it"
	@$(BIN)/python -m pytest -m clients $(call marked,clients) $(ARGS)

# Prometheus and promtool for the tests: Debian's package, unpacked and not installed, so that no service starts.
prometheus: build/prometheus/.debian ## Get Prometheus and promtool, with which the tests check the chart's rules

build/prometheus/.debian: Makefile
	@mkdir -p $(@D)
	@if command -v promtool >/dev/null && command -v prometheus >/dev/null; then touch $@; \
	 elif command -v apt-get >/dev/null && command -v dpkg >/dev/null; then \
	   echo "prometheus: Debian's package, for the tests of the chart's rules (20 MB)"; \
	   cd $(@D) && rm -f *.deb && \
	   { apt-get download -q prometheus || { [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get download -q prometheus; }; } >download.log 2>&1 </dev/null && \
	   dpkg -x prometheus_*.deb . && rm -f *.deb && touch .debian \
	   || echo "prometheus: it cannot be had; the tests of the chart's rules are skipped" >&2; \
	 else echo "prometheus: this is no Debian; the tests of the chart's rules are skipped" >&2; fi

# What the clients need besides .venv and a browser, each with a stamp of its own in build/clients.
CLIENTS := tests/clients/programs
CLIENTS_DEBIAN := firefox-esr python3-gi python3-gst-1.0 gir1.2-gst-plugins-bad-1.0 gstreamer1.0-nice \
	gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly

clients-install: build/clients/.debian build/clients/.python build/clients/eyevinn.js build/clients/pion ## Get the clients of make clients: from Debian, PyPI, npm and Go

build/clients/.debian: Makefile
	@mkdir -p $(@D)
	@if dpkg-query -W $(CLIENTS_DEBIAN) >/dev/null 2>&1; then :; \
	 elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	   echo "clients: Debian's packages of Firefox and GStreamer (a minute)"; \
	   apt-get update -q >/dev/null </dev/null && DEBIAN_FRONTEND=noninteractive \
	     apt-get install -q -y --no-install-recommends $(CLIENTS_DEBIAN) >$(@D)/debian.log 2>&1 </dev/null \
	   || { tail -n 20 $(@D)/debian.log >&2; exit 1; }; \
	 else \
	   echo "clients: without Firefox and GStreamer; on Debian type: sudo apt-get install -y --no-install-recommends $(CLIENTS_DEBIAN)" >&2; \
	   exit 0; \
	 fi && touch $@

build/clients/.python: requirements/clients.lock | $(VENV)/.dev
	@mkdir -p $(@D)
	@if $(call locked,clients); then touch $@; \
	 else echo "clients: without reactor-webrtc, whose wheels this system cannot use" >&2; fi

# The modules of npm, and a bundle of those that run in a page.
build/clients/eyevinn.js: $(wildcard $(CLIENTS)/node/*.js*) $(CLIENTS)/web/report.js
	@mkdir -p $(@D)
	@if command -v npm >/dev/null; then \
	   echo "clients: werift and Eyevinn's clients, from npm"; \
	   npm ci --prefix $(CLIENTS)/node --no-audit --no-fund --loglevel=error </dev/null >/dev/null && \
	   $(CLIENTS)/node/node_modules/.bin/esbuild $(CLIENTS)/node/eyevinn.js --bundle --format=esm --outfile=$@ --log-level=error; \
	 else echo "clients: without those of npm: install Node.js 20 or newer" >&2; fi

build/clients/pion: $(wildcard $(CLIENTS)/go/*)
	@mkdir -p $(@D)
	@if command -v go >/dev/null; then \
	   echo "clients: pion, built from Go modules"; \
	   go build -C $(CLIENTS)/go -o $(CURDIR)/$@ . </dev/null; \
	 else echo "clients: without pion: install Go (https://go.dev/dl)" >&2; fi

# The API server and etcd of the tests: setup-envtest's where that is installed, else built from Go modules (minutes).
envtest: ## Get kube-apiserver and etcd for the tests; needs Go, or setup-envtest on PATH
	@if command -v setup-envtest >/dev/null; then setup-envtest use -p path && \
	   echo "envtest: no controllers among these; e2e/cluster/build envtest builds all that the tests use" >&2; \
	 elif command -v go >/dev/null; then e2e/cluster/build envtest; \
	 else echo "envtest: install Go (https://go.dev/dl), or put setup-envtest on PATH" >&2; exit 1; fi

e2e: $(VENV)/.dev ## Run the end-to-end tests on a kind cluster, made where there is none; ARGS="..." goes to pytest
	@$(BIN)/python -m e2e.run $(ARGS)

e2e-down: ## Delete the cluster of the end-to-end tests
	@e2e/cluster/down

install: $(VENV)/.dev ## Install Genlock with all that its development needs

coverage: $(VENV)/.dev ## Say how much of each room the tests of one process reach, statements and branches
	@mkdir -p build
	@$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile -m "not process and not browser and not apiserver and not clients" \
	  $(foreach part,core operator worker gateway cli,--cov=$(part)/genlock_$(part)) --cov-branch --cov-report=json:build/coverage.json
	@$(BIN)/python -m tests.room_coverage build/coverage.json

mutation: $(VENV)/.dev ## Change the product's decisions one at a time, and say which change no test notices (half an hour)
	@$(BIN)/python -m tests.mutation $(ARGS)

fuzz: $(VENV)/.dev ## Try a million broken inputs on every reader of bytes, 300,000 on the two slowest, 100,000 on those of offers and manifests (hours)
	@GENLOCK_FUZZ=$${GENLOCK_FUZZ:-1000000} $(BIN)/python -m pytest -q -n auto --dist worksteal --durations=0 tests/fuzz/test_fuzz.py

nightly: $(VENV)/.dev build/prometheus/.debian ## Try what takes too long for each change: 5,000 broken streams of each kind, 2,000 lives of the snapshots' budget, 1,000 of levels, 200 busy hours, a real Prometheus, a machine that is starved, a day of load
	@GENLOCK_MUTATIONS=5000 $(BIN)/python -m pytest -q -n auto --durations=0 tests/bitstreams/test_mutations.py
	@GENLOCK_BUDGET_EXAMPLES=2000 $(BIN)/python -m pytest -q --timeout 900 tests/core/claims/test_snapshot_budget.py
	@GENLOCK_LEVELS_EXAMPLES=1000 $(BIN)/python -m pytest -q --timeout 3600 tests/core/claims/test_levels_machine.py
	@GENLOCK_LEVEL_WALKS=200 $(BIN)/python -m pytest -q --timeout 1800 tests/core/levelling/test_keeper_walk.py
	@GENLOCK_PROMETHEUS=1 GENLOCK_PANELS=build/panels $(BIN)/python -m pytest -q tests/process/test_prometheus.py
	@GENLOCK_STARVED=1 $(BIN)/python -m pytest -q -s tests/process/test_starved.py
	@$(BIN)/python -m bench.replay --seeds 2

check: $(VENV)/.dev ## Lint, formatting, types and the direction of imports
	@echo "check: ruff"
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@echo "check: mypy"
	@$(BIN)/mypy
	@echo "check: import-linter"
	@$(BIN)/lint-imports --no-logo

bench: $(VENV)/.dev ## Measure, and write docs/benchmarks.md; ARGS="..." goes to the benchmarks
	@$(BIN)/python -m bench $(ARGS)

bench-operator: $(VENV)/.dev ## Measure the operator against a real kube-apiserver, with up to 10,000 sessions; needs make envtest
	@$(BIN)/python -m bench operator

chaos: $(VENV)/.dev ## Hurt a running Genlock in every way, and say what it cost the viewers; ARGS="--kills 100 --engine diffusion"
	@$(BIN)/python -m bench.chaos $(ARGS)

gpu: $(VENV)/.dev ## Measure the diffusion engine on a GPU; without one here, pack build/gpu to be carried to one
	@$(BIN)/python -m bench.gpu.pack build/gpu $(PACK)
	@if $(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then \
	   PYTHON=$(CURDIR)/$(BIN)/python build/gpu/run $(ARGS); \
	 else echo "gpu: no CUDA device here. Copy the folder build/gpu to a machine with one and type: gpu/run"; fi

gpu-dry: $(VENV)/.dev ## Try all of make gpu with the tiny model on the CPU
	@$(BIN)/python -m bench.gpu.pack build/gpu
	@echo "gpu-dry: unpacking, as on a machine that lacks every library"
	@site=$$(mktemp -d) && trap 'rm -rf "$$site"' EXIT && $(BIN)/python -S -m bench.gpu.unpack build/gpu/wheels "$$site"
	@PYTHON=$(CURDIR)/$(BIN)/python OUT=build/gpu/dry build/gpu/run --dry $(ARGS)

screenshots: $(VENV)/.dev ## Take the pictures of docs/images anew, with the browser of the tests
	@mkdir -p docs/images
	@GENLOCK_SCREENSHOTS=docs/images $(BIN)/python -m pytest -q tests/process/test_studio.py tests/process/test_sessions_page.py tests/gateway/page

lock: $(SUPPLY)/.installed ## Bring requirements/*.lock up to date with pyproject.toml and with what is published; ARGS=--keep only with the former
	@echo "lock: resolving for Python 3.11 and up"
	@UV=$(SUPPLY)/bin/uv PYTHON=$(SUPPLY)/bin/python requirements/lock $(ARGS)

sbom: $(VENV)/.dev ## Write what each part is installed with, licenses too, to build/sbom (CycloneDX)
	@$(BIN)/python -m supply_chain.sbom build/sbom

advisories: $(SUPPLY)/.installed ## Ask whether anything is known of a package that the locks name; needs a network
	@$(SUPPLY)/bin/python -m supply_chain.advisories

base-digests: ## Look up the digests of the images that ours stand on, and write them to images/base.lock and the chart
	@images/base --renew

clean: ## Remove .venv and the caches of the tools
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# Each stamp is as new as the installation; a change of the project file or of the lock installs again.
$(VENV)/.local: pyproject.toml requirements/local.lock requirements/build.lock | $(BIN)/python
	@echo "install: what genlock up needs, into $(VENV) (a minute or two the first time)"
	@$(call locked,local build)
	@$(linked)
	@touch $@

$(VENV)/.dev: pyproject.toml requirements/dev.lock requirements/build.lock | $(BIN)/python
	@echo "install: Genlock, torch (about 2.6 GB) and the development tools, into $(VENV) (some minutes the first time)"
	@$(call locked,dev build)
	@$(linked)
	@touch $(VENV)/.local $(VENV)/.diffusion $@

$(VENV)/.diffusion: pyproject.toml requirements/diffusion.lock requirements/local.lock requirements/build.lock | $(BIN)/python
	@echo "install: the diffusion engine with torch (about 2.6 GB), into $(VENV) (some minutes the first time)"
	@$(call locked,diffusion local build)
	@$(linked)
	@touch $(VENV)/.local $@

$(SUPPLY)/.installed: requirements/supply.lock | $(BIN)/python
	@$(BIN)/python -m venv --clear $(SUPPLY)
	@$(SUPPLY)/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes --requirement requirements/supply.lock
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Genlock needs Python 3.11 or newer; on Debian type: apt-get install -y python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "install: Debian's package python3-venv, which $(PYTHON) lacks"; \
	    apt-get update -q </dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -q -y python3-venv </dev/null; \
	  else \
	    echo "$(PYTHON) has no venv; on Debian type: sudo apt-get install -y python3-venv" >&2; exit 1; \
	  fi; }
	@echo "install: a virtual environment with $(PYTHON), in $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
