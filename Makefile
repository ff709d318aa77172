# `make demo` and `make test` set up all that they need, on a machine with git, make and Python 3.11 alone.

SHELL := /bin/sh
BIN := .venv/bin
# kustomize, where scripts/bootstrap.sh had to build it
export PATH := $(CURDIR)/.cache/bin:$(PATH)
JOBS ?= 2
DIR ?=
EXAMPLES ?=
KEEP ?=
CLUSTER ?=
PYTEST := $(BIN)/python -m pytest

.PHONY: help setup demo examples examples-all test test-fast test-e2e test-kills oracle conformance cluster-programs cluster-up cluster-down test-cluster lint docs docs-check lock clean

help:  ## what there is to make
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup:  ## .venv with the locked packages, and the programs that mlops calls
	@scripts/bootstrap.sh

demo: setup  ## the whole story on a sample project (DIR=where, default ./mlops-demo)
	@$(BIN)/mlops demo $(DIR)

examples: setup  ## three projects, each from init to a prediction and back (EXAMPLES=names), in a copy that is removed (KEEP=dir: left there)
	@$(BIN)/python scripts/examples.py $(if $(KEEP),--keep $(KEEP)) $(EXAMPLES)

examples-all:  ## and run from a registry by podman, built again under other circumstances and on other processors: an hour
	@scripts/bootstrap.sh test
	$(BIN)/python scripts/examples.py --pulled $(EXAMPLES)
	$(BIN)/python scripts/reproducibility.py $(EXAMPLES)
	$(BIN)/python scripts/processors.py $(EXAMPLES)

test:  ## all tests: the quick ones first, then the end-to-end ones
	@scripts/bootstrap.sh test
	$(PYTEST) tests/unit tests/contract tests/golden -q -n $(JOBS) --dist loadfile
	$(PYTEST) tests/system tests/e2e -q -n $(JOBS) --dist worksteal

test-fast:  ## unit, contract and golden tests: under a minute
	@scripts/bootstrap.sh test
	$(PYTEST) tests/unit tests/contract tests/golden -q -n $(JOBS) --dist loadfile

test-e2e:  ## real git, DVC, images and sandboxes at length, and the commands as a user types them
	@scripts/bootstrap.sh test
	$(PYTEST) tests/system tests/e2e -q -n $(JOBS) --dist worksteal

test-kills:  ## kill -9 at every program and rename of run, rollback and lock, those that only read included
	@scripts/bootstrap.sh test
	MLOPS_TEST_KILLS=all $(PYTEST) tests/e2e/test_kills.py -q -n $(JOBS)

oracle:  ## build the program that judges documents as Tekton's own admission does (needs Go)
	@scripts/oracle.sh

conformance: setup oracle  ## the conformance suite, the comparison with Tekton's own code, and its examples (needs Go)
	$(PYTEST) tests/conformance -q -n $(JOBS) --dist worksteal

cluster-programs:  ## compile what cluster-up starts
	@scripts/bootstrap.sh cluster
	@$(BIN)/python -m tests.cluster build

cluster-up:  ## a real Kubernetes with a real Tekton on this machine (needs Linux, root and Go 1.26; 20 GB the first time; CLUSTER=where)
	@scripts/bootstrap.sh cluster
	@$(BIN)/python -m tests.cluster $(if $(CLUSTER),--dir $(CLUSTER)) up

cluster-down: setup  ## stop it, and leave nothing of it but the compiled programs
	@$(BIN)/python -m tests.cluster $(if $(CLUSTER),--dir $(CLUSTER)) down

test-cluster: cluster-up  ## the tests that need it; it stays up for the next time
	@$(BIN)/python -m tests.cluster stock
	@status=0; within="$(BIN)/python -m tests.cluster $(if $(CLUSTER),--dir $(CLUSTER)) run $(PYTEST) tests/cluster -q"; \
	$$within -m "not alone" -n 2 --dist loadfile || status=1; \
	$$within -m alone || status=1; \
	exit $$status

lint: setup  ## ruff, mypy, import-linter, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/docs.py --check

docs: setup  ## write the generated pages of docs/reference
	$(BIN)/python scripts/docs.py

docs-check: setup  ## fail where a generated page is not what the commands say
	$(BIN)/python scripts/docs.py --check

lock: setup  ## resolve requirements-dev.txt and requirements-tool.txt anew
	$(BIN)/python scripts/lock.py

clean:  ## remove what the targets above made (not: a demo's directory)
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
