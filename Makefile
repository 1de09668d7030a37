# Fieldpost: every task of a developer. `make help` lists them.

PYTHON ?= python3
BIN := .venv/bin
SEED ?= 7
SEEDS ?= 20
FIRST_SEED ?= 1
ROUNDS ?= 5
# A company's own certificate authority is in the system's store; uv must look there. uv's cache stays in the checkout.
export UV_SYSTEM_CERTS := 1
export UV_PYTHON_DOWNLOADS := never
export UV_CACHE_DIR ?= $(CURDIR)/.tools/cache

# Each of a test run's hundred processes would compile all modules anew where an environment forbids to keep them.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup audit check fix test demo bench recover soak long run model lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' Makefile

setup: .venv/.ready ## Install everything into .venv, nothing outside the checkout

.venv/.ready: pyproject.toml requirements-dev.lock deploy/bootstrap
	@PYTHON=$(PYTHON) sh deploy/bootstrap
	@touch $@

demo: setup ## Build a shared mailbox and take it from inbox to work orders (KEEP=1 leaves it running)
	@$(BIN)/python -m deploy.demo.run --seed $(SEED) $(if $(KEEP),--keep)

test: setup ## Run every test with real PostgreSQL, Valkey and a real HTTP Gmail server
	@$(BIN)/pytest -n 4 --dist loadgroup -m "not soak"

check: setup ## Format, lint, types, import contracts, YAML
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	@$(BIN)/yamllint -s deploy

audit: setup ## Known vulnerabilities, the bill of materials and licences of all that is installed; reports in dist/supply
	@$(BIN)/python -m deploy.supply

fix: setup ## Format and mend what a machine can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup ## Measure the chain, a backfill and the parser, each beside its limit
	@$(BIN)/python -m tests.bench
	@$(BIN)/python -m tests.bench.quota
	@$(BIN)/python -m tests.bench.parsing

recover: setup ## Measure how soon work goes on after faults, and what a replay of 10,000 dead letters costs live mail
	@$(BIN)/python -m tests.bench.recovery
	@$(BIN)/python -m tests.bench.replay

soak: setup ## Chaos with real processes, SEEDS=20 seeds from FIRST_SEED=1: 100,000 messages, 1,000 faults, half an hour
	@$(BIN)/python -m tests.faults.soak --seeds $(SEEDS) --first-seed $(FIRST_SEED)

long: setup ## Run the long tests, then the fault tests ROUNDS=5 times with other seeds
	@$(BIN)/pytest -q -n 2 --dist loadgroup -m soak
	@for seed in $$(seq 1 $(ROUNDS)); do echo "seed $$seed"; \
	  $(BIN)/pytest -q tests/faults tests/flow -m "not soak" -n 0 --hypothesis-seed=$$seed || exit 1; done

run: setup ## Start everything on this machine
	@$(BIN)/fieldpost up --data .data

model: setup ## Learn from tests/labelled/learned what mails tell: makes the model that comes along (a minute)
	@$(BIN)/fieldpost triage train $(foreach file,$(sort $(wildcard tests/labelled/learned/*.jsonl)),--labelled $(file)) \
		--out pipeline/adapters/status_words.json

lock: .venv/.ready ## Resolve the dependencies anew
	@.tools/bin/uv pip compile -q --universal --generate-hashes --no-header --no-annotate pyproject.toml -o requirements.lock
	@.tools/bin/uv pip compile -q --universal --generate-hashes --no-header --no-annotate --group dev -c requirements.lock \
	  pyproject.toml -o requirements-dev.lock

clean: ## Remove what setup and the tools made
	@rm -rf .venv .tools .data .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
