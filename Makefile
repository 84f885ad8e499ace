# `make` alone lists what there is. Every target sets up what it needs.

BROKER ?= embedded
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
ENGINE ?= $(firstword $(shell for one in podman docker buildah; do command -v $$one; done))
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' fedyard/wire/version.py)
COMMITTED = $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null || echo 0))
MAKEFLAGS += --no-print-directory
# Tests and demo start hundreds of processes of ours: what they run is compiled once, whatever the caller's habit is.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo up test drills quick coverage check test-cluster fuzz sim chaos bench screenshots dist vendor image test-image format clean

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/ready-to-run ## the environment that bin/fedyard and bin/fedyard-hub run in; .venv/bin has them, too

demo: $(VENV)/ready-to-$(if $(STREAMS),test,run) $(if $(filter digits_cnn,$(TASK)),$(VENV)/ready-for-torch) ## three hospitals train, or TASK=table_one, TASK=digits_cnn (PyTorch); BROKER=rabbitmq; WORKLOADS=1: processes; STREAMS=1: over Kafka; LOOK=1: stays up
	@$(PY) -m demo --broker $(BROKER) $(if $(TASK),--task $(TASK)) $(if $(WORKLOADS),--workloads) $(if $(STREAMS),--streams) $(if $(LOOK),--look)

up: $(VENV)/ready-to-run ## the hub on RabbitMQ and PostgreSQL, private ones in ./var unless FEDYARD_*_URL name others
	@bin/fedyard-hub up

test: $(VENV)/tests-compiled ## the tests, on the embedded parts and on real RabbitMQ, PostgreSQL, S3 and Kafka's protocol
	@$(PY) -m devservers curl chromium tinyproxy
	@$(PY) -m pytest -n 4 --dist loadfile --no-loadscope-reorder --drills none

# Without PyTorch the one drill that needs it fails, and the others are run.
drills: $(VENV)/ready-to-test ## what searches, kills and floods for minutes: kill test, planted bugs, fuzzing, restores, the board
	@$(MAKE) $(VENV)/ready-for-torch || true
	@$(PY) -m devservers curl chromium tinyproxy
	@$(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder --drills only

quick: $(VENV)/ready-to-test ## the tests that need no service and take no time, in a minute and a half
	@$(PY) -m pytest -q -n 4 --dist loadfile --no-loadscope-reorder --quick

coverage: $(VENV)/ready-to-test ## which lines no test runs: every test, with coverage of the programs that they start
	@$(MAKE) $(VENV)/ready-for-torch || true
	@$(PY) -m devservers curl chromium tinyproxy
	@mkdir -p var/coverage
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report --skip-covered --sort=cover

check: $(VENV)/ready-to-test ## format, lint, types, who imports whom, docs
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(PY) -m pytest -q tests/test_docs.py tests/test_architecture.py tests/test_contracts.py

fuzz: $(VENV)/ready-to-test ## what a client may send to each operation, EXAMPLES=50 of each kind; make test draws 2
	@EXAMPLES=$(or $(EXAMPLES),50) $(PY) -m pytest -q -o "addopts=-p no:xdist" --timeout 3600 tests/web/fuzzing.py

test-cluster: $(VENV)/ready-to-test ## workloads on a real cluster: KUBECONFIG=, FEDYARD_TEST_IMAGE= with sh and python3, CONTEXT=
	@test -f "$(KUBECONFIG)" && test -n "$(FEDYARD_TEST_IMAGE)" || \
	  { echo "say make test-cluster KUBECONFIG=path FEDYARD_TEST_IMAGE=image, and CONTEXT= if not the file's current one" >&2; exit 1; }
	@$(PY) -m pytest -q tests/cluster/test_contract.py tests/cluster/test_kubernetes_contract.py \
	  --kubeconfig "$(KUBECONFIG)" --cluster-image "$(FEDYARD_TEST_IMAGE)" $(if $(CONTEXT),--kube-context "$(CONTEXT)")

sim: $(VENV)/ready-to-test ## COUNT=100 histories full of faults, from SEED=1 on; BUGS=1: how many each planted bug survives
	@$(PY) -m tests.simulation --seed $(or $(SEED),1) --count $(or $(COUNT),100) $(if $(BUGS),--bugs)

chaos: $(VENV)/ready-to-test ## kill everything under load for MINUTES=10, then compare; SEED=, CLUSTER=1: three RabbitMQs
	@$(PY) -m chaos --minutes $(or $(MINUTES),10) --cluster $(or $(CLUSTER),0) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/ready-to-test ## measure the hub, about seventeen minutes on a quiet machine; CASE=run_s for one figure
	@$(PY) -m devservers curl
	@$(PY) -m benchmarks $(CASE)

screenshots: $(VENV)/ready-to-test ## docs/pictures, of a demo that is looked at with Chromium
	@$(PY) -m devservers chromium
	@$(PY) -m tests.page.pictures

dist: $(VENV)/ready-to-test ## dist/*.whl, what `pip install` brings to a site, and a check of what is in it
	@$(PY) -m ops.distribution

vendor: $(VENV)/ready-to-run ## fetch the pinned scripts of the page by npm again, and compare (ops/vendored.toml)
	@$(PY) -m ops.vendoring

image: ## localhost/fedyard-hub, what containers run, by podman, docker or buildah; BASE= another base (docs/deploying.md)
	@test -n "$(ENGINE)" || { echo "make image needs podman, docker or buildah" >&2; exit 1; }
	@$(ENGINE) build -f Containerfile -t localhost/fedyard-hub:latest -t localhost/fedyard-hub:$(VERSION) \
	  --build-arg VERSION=$(VERSION) --build-arg SOURCE_DATE_EPOCH=$(COMMITTED) $(if $(BASE),--build-arg BASE=$(BASE)) \
	  $(if $(filter docker,$(notdir $(ENGINE))),,--timestamp $(COMMITTED)) .

test-image: $(VENV)/ready-to-test ## build it on a bootstrapped Debian, and run a hub in it on a read-only root; as root
	@$(PY) -m tests.deploy.image

format: $(VENV)/ready-to-test ## put the code into its form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## forget the virtual environment and all caches; ./var with its data stays
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# Debian keeps ensurepip in a package of its own (python3-venv); without it the environment is made bare and
# filled from outside by the system's pip.
$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Fedyard needs Python 3.11 or later as $(PYTHON); or say make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || $(PYTHON) -m venv --clear --without-pip $(VENV)

define install
	@if $(PY) -m pip --version >/dev/null 2>&1; then pip="$(PY) -m pip"; else pip="$(PYTHON) -m pip --python $(PY)"; fi; \
	  $$pip install --quiet --disable-pip-version-check -r $(1) || \
	  { echo "could not install $(1): is there a network, and pip (apt-get install python3-venv python3-pip)?" >&2; exit 1; }
	@ln -sf ../../bin/fedyard ../../bin/fedyard-hub $(BIN)/
	@touch $@
endef

# pytest keeps what it makes of a test file. In a fresh clone each worker would make all of it anew.
$(VENV)/tests-compiled: | $(VENV)/ready-to-test
	@for part in "tests/[a-f]*" "tests/[g-z]*"; do $(PY) -m pytest -q --collect-only -p no:xdist $$part >/dev/null & done; wait
	@touch $@

$(VENV)/ready-to-run: requirements.txt | $(PY)
	@echo "installing requirements.txt into $(VENV)"
	$(call install,requirements.txt)

$(VENV)/ready-to-test: requirements.txt requirements-dev.txt | $(PY)
	@echo "installing requirements-dev.txt into $(VENV)"
	$(call install,requirements-dev.txt)

$(VENV)/ready-for-torch: requirements-torch.txt | $(VENV)/ready-to-run
	@echo "installing requirements-torch.txt into $(VENV): PyTorch, which may be large (the file says how it is not)"
	$(call install,requirements-torch.txt)
