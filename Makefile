# Two commands do all set-up: `make repro` and `make test`. `make help` lists the others.
# The first Python that has venv; else the first at all, for which install.py knows what to do.
PYTHON ?= $(shell for modules in venv,ensurepip sys; do for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c "import sys, $$modules; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))" 2>/dev/null && echo $$p && exit; done; done)
LOCK := $(if $(shell nvidia-smi -L 2>/dev/null),requirements-cuda.lock,requirements.lock)
STAMP := .venv/.from-$(LOCK)
# A stamp holds the path of the project. In one that was moved, or whose Python was removed, .venv is made anew.
ifneq ($(shell test -x .venv/bin/python && cat .venv/.from-* 2>/dev/null | sort -u),$(CURDIR))
MOVED := moved
endif
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# macOS has make 3.81, which runs a simple line with the PATH from before, unless the shell is not the default one.
ifeq ($(shell uname),Darwin)
SHELL := /bin/bash
endif
export MLFLOW_DISABLE_TELEMETRY := true
export ORT_DISABLE_TELEMETRY := 1

.PHONY: repro setup identity test test-fast test-system test-server test-results test-cluster test-hosts test-all cluster demo site ui attack bench coverage exercises lint docs hooks lock clean help moved
.DEFAULT_GOAL := repro

# An MLflow server that is down is no reason to fail.
repro: $(STAMP) identity  ## set up .venv, run every stage that is not up to date, show the results
	dvc repro
	pipeline verify
	pipeline results
	-pipeline track

setup: $(STAMP)  ## set up .venv alone, in half a minute

identity:
	@git config user.name >/dev/null && git config user.email >/dev/null || echo "note: git has no user.name or user.email, \
	without which git commit and dvc exp run fail; set them with git config --global user.name NAME" >&2

test: $(STAMP) lint  ## set up .venv, lint, check types, run the tests
	python -m pytest

test-fast: $(STAMP)  ## run the tests that need no training
	python -m pytest -m "not slow and not system and not server and not results and not cluster"

test-system: $(STAMP)  ## run whole flows: forced twice, killed, distributed, attacked, extended
	python -m pytest -m system

test-results: $(STAMP)  ## test that the committed networks and results are those that this project publishes
	python -m pytest -m results

test-server: $(STAMP)  ## test against PostgreSQL and an `mlflow server`, started on free local ports (Debian: postgresql)
	python -m pytest -m server --numprocesses 0

test-all: cluster  ## run all tests, those above too, in one run of two processes, as CI does
	python -m pytest -m "" --dist loadgroup --durations 40

cluster: .venv/.from-requirements-cluster.lock  ## add Ray to .venv, for sweeps and trainings on a cluster

test-cluster: cluster  ## test sweeps and trainings on Ray: on this machine, and on hosts in network namespaces
	python -m pytest -m cluster --numprocesses 0

test-hosts: cluster  ## the latter alone: hosts that share a network and nothing else (Linux, as root)
	python -m pytest -m hosts --numprocesses 0

demo: $(STAMP)  ## open the networks in the browser: drawings, strings and stories, step by step
	pipeline demo

site: $(STAMP)  ## write that page into the folder site/, for any web server
	pipeline site

ui: $(STAMP)  ## show the recorded runs: mlflow ui, with the columns that matter
	pipeline ui

attack: $(STAMP)  ## ten minutes of bad input, damaged files and kills; CASES=N for so many cases
	python -m tests.attack $(if $(CASES),--cases $(CASES))

bench: $(STAMP)  ## measure speed, memory, pictures: bench/README.md; FULL=1: all; BEFORE: a commit beside; TORCH_PYTHON: with PyTorch
	python -m bench

coverage: $(STAMP)  ## run the tests and list the lines that none of them runs
	python -m pytest --cov --cov-report term-missing

exercises: $(STAMP)  ## mark the exercises: what is still wrong, in a sentence
	@python -m pytest exercises --numprocesses 0 -p no:randomly

lint: $(STAMP)  ## check style and types
	ruff check .
	ruff format --check . || { echo "ruff format . brings them into form" >&2; exit 1; }
	mypy

docs: $(STAMP)  ## bring the tables in README.md and docs/, and the pictures of pages, up to date
	cog -I . -r README.md docs/*.md
	python -m docs.screenshot

hooks: $(STAMP)  ## check style, types and file sizes before each commit
	pre-commit install

COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet
lock:  ## write all lock files anew, from one resolution; needs uv; UPGRADE=1: the newest versions that pyproject.toml allows
	cat requirements*.lock > all.lock
	$(COMPILE) pyproject.toml --all-extras $(if $(UPGRADE),--upgrade) -o all.lock
	$(COMPILE) pyproject.toml -c all.lock --extra dev --extra sign -o requirements.lock
	$(COMPILE) pyproject.toml -c all.lock --extra dev --extra sign --extra cluster -o requirements-cluster.lock
	$(COMPILE) pyproject.toml -c all.lock --extra dev --extra sign --extra cuda -o requirements-cuda.lock
	$(COMPILE) --group uv $(if $(UPGRADE),--upgrade) -o requirements-uv.lock
	rm all.lock

clean:  ## remove the environment and the caches of tools; data, models and runs stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage *.egg-info
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

help:  ## list these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv/.from-%: % pyproject.toml install.py $(MOVED)
	@test -n "$(PYTHON)" || { echo "error: there is no Python 3.11 to 3.13; install one (Debian: apt-get install python3 python3-venv; \
	with uv: uv python install 3.13), or run make PYTHON=/path/to/python" >&2; exit 2; }
	@$(PYTHON) install.py $<
