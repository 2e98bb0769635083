# `make help` lists what can be made. Needed: Python 3.11 or newer with pip, and package registries.
# Pass another interpreter with PYTHON=python3.12.

PYTHON ?= python3
SEEDS ?= 1000
MINUTES ?= 2
REPLICAS ?= 2
UV_VERSION := 0.13.9

# Where it is set, hundreds of test modules are compiled anew by each of the processes at each run.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK := $(BIN)/python -m uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11
CLIENT := tests/clients/web3js-quorum
INTEROP := tests/clients/interop
KAFKA := tests/servers/kafka

.DEFAULT_GOAL := help
.PHONY: help demo setup servers check package test bench capacity simulate outages soak fuzz lock clean

help: ## List what can be made
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(VENV)/installed ## Set up and run the main job on emulated nodes: under a minute, shows all nodes "in sync"
	$(BIN)/orchestrator demo

setup: $(VENV)/installed-dev servers $(KAFKA)/jars/.installed $(CLIENT)/node_modules/.installed $(INTEROP)/node_modules/.installed $(INTEROP)/go/bin/.installed ## Prepare .venv and the servers that tests need

servers: ## Install the servers that tests start (Debian packages; as root or by sudo)
	@sh tests/servers/install.sh

check: $(VENV)/installed-dev ## Lint, formatting, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup ## All tests
	$(BIN)/python -m pytest -n 4 --dist loadscope $(ARGS)

package: $(VENV)/installed-dev ## Build wheel and source distribution, test what is installed from them, list what is in it: dist/
	rm -rf dist build
	$(BIN)/python -m hatchling build --directory dist --target sdist
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist dist/*.tar.gz
	sh deploy/container/install.sh build/installed kafka traces
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file dist/sbom.cdx.json build/installed/bin/python
	$(BIN)/python -m tests.packaging.licences build/installed > dist/licences.md
	cd dist && sha256sum * >../build/SHA256SUMS && mv ../build/SHA256SUMS .
	$(BIN)/python -m pytest -p no:cacheprovider tests/packaging

bench: setup ## Measure, print a table and write it as JSON
	$(BIN)/python -m tests.benchmarks $(ARGS)

capacity: $(VENV)/installed-dev ## Count what growing networks cost, in virtual time, beside the formulas of docs/capacity.md
	$(BIN)/python -m tests.capacity $(ARGS)

simulate: $(VENV)/installed-dev ## Run SEEDS deterministic simulations of engine, store, broker and nodes under faults
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

outages: $(VENV)/installed-dev ## Play 75 outages of enclaves, nodes and their interfaces, with Orion and with Tessera
	$(BIN)/python -m tests.integration.outages $(ARGS)

soak: setup ## Run changes on REPLICAS daemons under random faults for MINUTES, then check the invariants
	$(BIN)/python -m tests.soak --minutes $(MINUTES) --replicas $(REPLICAS) $(ARGS)

fuzz: $(VENV)/installed-fuzz ## Lie to the daemon by growing seeds, with Hypothesis and guided by coverage, for MINUTES
	$(BIN)/python -m tests.hostile --minutes $(MINUTES) $(ARGS)

lock: $(VENV)/installed ## Lock the requirements again after a change in pyproject.toml (UPGRADE=--upgrade: newest versions)
	$(PIP) install uv==$(UV_VERSION)
	$(LOCK) $(UPGRADE) pyproject.toml --output-file requirements.txt
	$(LOCK) $(UPGRADE) pyproject.toml --extra traces --constraints requirements.txt --output-file requirements-traces.txt
	$(LOCK) $(UPGRADE) pyproject.toml --extra pkcs11 --constraints requirements.txt --output-file requirements-pkcs11.txt
	$(LOCK) $(UPGRADE) pyproject.toml --extra kafka --constraints requirements.txt --output-file requirements-kafka.txt
	$(LOCK) $(UPGRADE) pyproject.toml --all-extras --group dev --constraints requirements-traces.txt --constraints requirements-pkcs11.txt --constraints requirements-kafka.txt --output-file requirements-dev.txt
	$(LOCK) --group build --constraints requirements-dev.txt --output-file requirements-build.txt
	$(LOCK) $(UPGRADE) $(INTEROP)/requirements.in --output-file $(INTEROP)/requirements.txt
	$(LOCK) $(UPGRADE) --group fuzz --output-file requirements-fuzz.txt

clean: ## Remove everything that was made here
	rm -rf $(VENV) $(CLIENT)/node_modules $(INTEROP)/node_modules $(INTEROP)/.venv $(INTEROP)/go/bin $(KAFKA)/jars dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find orchestrator tests -name __pycache__ -prune -exec rm -rf {} +

# pip comes from the machine (or from Python itself) once, to bring in the locked one.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, $(PYTHON) is older or missing: pass another one with PYTHON=…"; exit 1; }
	$(PYTHON) -m venv --clear --without-pip $(VENV)
	@if $(PYTHON) -m pip --version >/dev/null 2>&1; then \
		$(PYTHON) -m pip --disable-pip-version-check --quiet --python $(BIN)/python install --require-hashes -r requirements-build.txt; \
	else \
		$(BIN)/python -m ensurepip; \
	fi || { rm -rf $(VENV); exit 1; }

$(VENV)/installed: $(BIN)/python requirements-build.txt requirements.txt pyproject.toml
	$(PIP) install --require-hashes -r requirements-build.txt
	$(PIP) install --require-hashes -r requirements.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt
	$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

# It comes as wheels for some interpreters and systems only; without it `make fuzz` says what it leaves out.
$(VENV)/installed-fuzz: $(VENV)/installed-dev requirements-fuzz.txt
	-$(PIP) install --require-hashes --only-binary :all: -r requirements-fuzz.txt
	@touch $@

# By Maven, from where its own configuration says; compared with the hashes of jars.sha256.
$(KAFKA)/jars/.installed: $(KAFKA)/pom.xml $(KAFKA)/jars.sha256 $(KAFKA)/install.sh | servers
	$(KAFKA)/install.sh

$(CLIENT)/node_modules/.installed $(INTEROP)/node_modules/.installed: %/node_modules/.installed: %/package-lock.json | servers
	npm ci --prefix $* --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(INTEROP)/.venv/installed: $(INTEROP)/requirements.txt | $(VENV)/installed
	$(BIN)/python -m venv --clear --without-pip $(INTEROP)/.venv
	$(PIP) --python $(INTEROP)/.venv/bin/python install --require-hashes -r $(INTEROP)/requirements.txt
	@touch $@

# Go itself is among the Python packages. What tests compile is compiled here but for the last step.
$(INTEROP)/go/bin/.installed: $(INTEROP)/go/go.mod $(INTEROP)/go/go.sum $(INTEROP)/go/imports.go $(INTEROP)/go/run.sh $(INTEROP)/.venv/installed
	cd $(INTEROP)/go && ./run.sh build -o bin/ tool ./...
	@touch $@
