# Trục: `make` lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PY := .venv/bin/python
STAMP := .venv/.installed
PYTEST_ARGS ?=

##@ First steps
help: ## List these targets
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*##/ {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with the pinned libraries (done by every other target when needed)

$(STAMP): requirements.lock pyproject.toml scripts/setup
	bash scripts/setup

demo: $(STAMP) ## A province of 130 communes, killed and restarted, accounted for; ends by itself
	$(PY) -m gateway demo

serve: $(STAMP) ## Run one node on this machine (data in var/)
	$(PY) -m gateway serve

##@ Proof
# Tests start processes by the hundred: where the shell forbids Python to keep what it compiled, each would compile all.
compiled: $(STAMP)
	@$(PY) -m compileall -q -j 0 gateway edxml adapters routing monitoring tests benchmarks

test: compiled ## All tests but the long runs (kills, broker, drills, image)
	$(PY) -m pytest -n 2 --dist loadgroup $(PYTEST_ARGS) tests

check: $(STAMP) ## ruff, mypy --strict, import-linter, house rules, docs build
	bash scripts/check

bench: $(STAMP) ## Speed, as ratios of limits measured in the same run
	$(PY) -m benchmarks; all=$$?; $(PY) -m benchmarks --packets && exit $$all

bench-province: $(STAMP) ## Speed on PostgreSQL and RabbitMQ, as ratios of a bare pipeline on both, measured in the same run
	$(PY) -m benchmarks.province

soak: compiled ## The proof under faults of every kind (MINUTES=10 SEED=… SHRINK=20 ARGS=--nodes=3)
	$(PY) -m tests.soak --minutes $${MINUTES:-10} --seed $${SEED:-0} --shrink $${SHRINK:-0} $(ARGS)

kills: compiled ## The long runs of random kills and of the protocol's plays (MINUTES=10 SEED=1)
	$(PY) -m pytest -m long tests/fault tests/property --timeout 7200 -x

broker: compiled ## The long runs on RabbitMQ: three nodes, frozen for long, wiped with default times
	$(PY) -m pytest -m long tests/service --timeout 600

drills: compiled ## A move killed at every step; a node on PostgreSQL put back to a moment between two backups
	$(PY) -m pytest -n 0 -m long tests/fault/test_move_kills.py tests/fault/test_point_in_time.py --timeout 600

image: $(STAMP) ## The Dockerfile's steps and its processes in Debian roots, without Docker (minutes, as root)
	$(PY) -m pytest -n 0 -m long tests/deploy --timeout 1800

fuzz: $(STAMP) ## Coverage-guided fuzzing of the packet library (MINUTES=6 SEED=1)
	$(PY) -m tests.fuzz

##@ Upkeep
lock: $(STAMP) ## Pin the libraries anew
	.venv/bin/pip install -q uv
	.venv/bin/uv pip compile -q --universal --generate-hashes --no-header --upgrade --extra dev pyproject.toml -o requirements.lock
	.venv/bin/uv pip compile -q --universal --generate-hashes --no-header --no-annotate --constraint requirements.lock pyproject.toml -o requirements.run.lock

format: $(STAMP) ## Let ruff lay out the code, and write the reference pages anew
	.venv/bin/ruff check --fix --exit-zero . && .venv/bin/ruff format .
	$(PY) scripts/make_reference

.PHONY: help setup demo serve compiled test check bench bench-province soak kills broker drills image fuzz lock format
