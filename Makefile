# Two commands do all set-up: `make repro` and `make test`. Both find Python 3.11 to 3.13 and build .venv from the lock.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
LOCK := $(if $(shell nvidia-smi -L 2>/dev/null),requirements-cuda.lock,requirements.lock)
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: repro test test-server lint lock
.DEFAULT_GOAL := repro

# A store of MLflow's out of reach is no reason to fail.
repro: .venv/.from-$(LOCK)
	dvc repro
	pipeline results
	-pipeline track

test: .venv/.from-$(LOCK) lint
	python -m pytest

# Needs PostgreSQL (Debian's package postgresql); starts it and an `mlflow server`, and takes them down again.
test-server: .venv/.from-$(LOCK)
	python -m pytest -m server

lint: .venv/.from-$(LOCK)
	ruff check .
	ruff format --check .
	mypy

# Made whole or not at all: the stamp comes last.
.venv/.from-%: % pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 to 3.13 with venv was found; install one (Debian: python3-venv), or name it: make PYTHON=..." >&2; exit 2; }
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --require-hashes -r $<
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

# For who changes pyproject.toml; needs uv.
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-header --quiet -o requirements.lock
	uv pip compile pyproject.toml --extra dev --extra cuda --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header --quiet -c requirements.lock -o requirements-cuda.lock
