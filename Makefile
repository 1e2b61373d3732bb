# The three commands of the project: demo, test, check. Everything they need they install themselves, from PyPI, into folders beside this file.
PYTHON ?= python3
PIP_FLAGS ?= --quiet --disable-pip-version-check
OUT ?= out/demo
JOBS ?= 2
SEEDS ?= 20
EXTRAS := anonymeter,sign
# What the tests read besides the installed wheel. They run from a copy, where no source package can shadow it.
COPIED := $(wildcard tests docs scripts benchmarks examples README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE Makefile pyproject.toml action.yml .pre-commit-hooks.yaml .ci)
SOURCES := $(shell find dpsynth audits policies reports -type f -not -name '*.pyc' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help demo demo-broken demo-finance test test-wheel test-current test-spark check lint format bench audit-audits clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-22s %s\n", $$1, $$2}'

demo: .venv/.demo-ready  ## an audited, policy-gated release of bundled health records, into out/demo
	.venv/bin/dpsynth demo --out $(OUT) --force

demo-finance: .venv/.demo-ready  ## the same on bundled household finance records, into out/demo-finance
	.venv/bin/dpsynth demo --finance --out out/demo-finance --force

demo-broken: .venv/.demo-ready  ## the same through a synthesizer that copies its training rows: must be refused
	.venv/bin/dpsynth demo --broken --out out/demo-broken --force; code=$$?; test $$code -eq 1

test: test-wheel test-current  ## the whole suite against the built wheel, then a fast subset without anonymeter

test-spark: .venv/.check-ready  ## counting and sampling on a local Spark (needs Java 17; installs pyspark, 400 MB)
	.venv/bin/python -m pip install $(PIP_FLAGS) -e ".[spark]"
	DPSYNTH_TEST_SPARK=1 .venv/bin/python -m pytest -q tests/dpsynth/privacy/test_spark_records.py

check: .venv/.check-ready  ## ruff, mypy --strict and the suite on this checkout
	$(MAKE) lint
	.venv/bin/python -m pytest -q

lint: .venv/.check-ready  ## ruff, ruff format and mypy --strict
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: .venv/.check-ready  ## let ruff rewrite the sources
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

bench: .venv/.check-ready  ## measure error, time and memory; rewrites docs/performance.md (BENCH="--data NAME=CSV ...")
	.venv/bin/python -m benchmarks.run --out out/bench --page docs/performance.md $(BENCH)

audit-audits: .venv/.check-ready  ## plant every defect in every mechanism; prints who caught it and rewrites docs/audit-power.md (SEEDS=20)
	.venv/bin/python -m tests.mutants.matrix --seeds $(SEEDS) --results out/audit-audits.jsonl --write

clean:  ## remove environments and everything built
	rm -rf .venv .venv-test .venv-current build dist out .mypy_cache .ruff_cache .pytest_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; try: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

# Editable, so that the demo shows this checkout and never an older copy of it.
.venv/.demo-ready: pyproject.toml | .venv/bin/python
	.venv/bin/python -m pip install $(PIP_FLAGS) -e ".[$(EXTRAS)]"
	@touch $@

.venv/.check-ready: pyproject.toml | .venv/bin/python
	.venv/bin/python -m pip install $(PIP_FLAGS) -e ".[$(EXTRAS),dev]"
	@touch $@ .venv/.demo-ready

dist/.built: pyproject.toml README.md LICENSE $(SOURCES)
	rm -rf dist build/lib
	$(PYTHON) -m pip wheel $(PIP_FLAGS) . --no-deps --wheel-dir dist
	@touch $@

build/wheel-test/.copied: $(shell find $(COPIED) -type f -not -name '*.pyc' 2>/dev/null)
	rm -rf build/wheel-test
	mkdir -p build/wheel-test
	cp -R $(COPIED) build/wheel-test/
	find build/wheel-test -name __pycache__ -type d -prune -exec rm -rf {} +
	@touch $@

.venv-test/.ready: dist/.built
	test -x .venv-test/bin/python || $(PYTHON) -m venv .venv-test
	.venv-test/bin/python -m pip install $(PIP_FLAGS) "$$(ls dist/*.whl)[$(EXTRAS),test]"
	.venv-test/bin/python -m pip install $(PIP_FLAGS) --force-reinstall --no-deps dist/*.whl
	@touch $@

# Without anonymeter, which caps numpy below 1.27: the numpy, pandas and scikit-learn that a new user gets today.
.venv-current/.ready: dist/.built
	test -x .venv-current/bin/python || $(PYTHON) -m venv .venv-current
	.venv-current/bin/python -m pip install $(PIP_FLAGS) "$$(ls dist/*.whl)[sign,test]"
	.venv-current/bin/python -m pip install $(PIP_FLAGS) --force-reinstall --no-deps dist/*.whl
	@touch $@

# By file, so that what a module sets up once is set up once.
PYTEST := -m pytest -q -n $(JOBS) --dist loadfile

test-wheel: .venv-test/.ready build/wheel-test/.copied
	cd build/wheel-test && DPSYNTH_WHEEL="$$(ls $(CURDIR)/dist/*.whl)" $(CURDIR)/.venv-test/bin/python $(PYTEST)

# Only the rooms that use numpy or pandas, and the house.
test-current: .venv-current/.ready build/wheel-test/.copied
	cd build/wheel-test && DPSYNTH_WHEEL="$$(ls $(CURDIR)/dist/*.whl)" $(CURDIR)/.venv-current/bin/python $(PYTEST) \
		-m "not slow and not statistical" tests/audits tests/cli tests/dpsynth tests/house
