# The project's commands. `make run` and `make test` set up all that they need by themselves.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN = $(VENV)/bin
DATA_DIR ?= $(CURDIR)/data
DAGSTER_HOME ?= $(CURDIR)/.dagster_home
export DATA_DIR DAGSTER_HOME UI_PORT API_PORT

# What is installed is named with its digest in requirements/. uv installs in a fifth of pip's time;
# where there is no uv for the platform, pip does it. Compiled at once: where Python may not write
# bytecode (PYTHONDONTWRITEBYTECODE, a virtual environment of another user), each process would
# compile all of it anew.
with_uv = $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes \
	--requirement requirements/uv.txt
with_pip = $(BIN)/pip install --quiet --disable-pip-version-check
uv_install = $(BIN)/uv pip install --quiet --system-certs --compile-bytecode --python $(BIN)/python
this = --no-deps --no-build-isolation --editable .
install = { $(with_uv) && $(uv_install) --require-hashes --requirement requirements/$(1).txt && \
	$(uv_install) $(this); } || \
	{ $(with_pip) --require-hashes --requirement requirements/$(1).txt && $(with_pip) $(this); }

# The announcement of another generator is silenced; warnings of the build still fail it.
# (--quiet would switch off warnings and with them --strict.)
build_site = mkdir -p build && { NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict \
	>build/site.log 2>&1 || { cat build/site.log; exit 1; }; }

SHORT_TIER = ingestion_pipeline_tests/unit/osm ingestion_pipeline_tests/unit/helpers \
	ingestion_pipeline_tests/unit/lake ingestion_pipeline_tests/unit/quality \
	ingestion_pipeline_tests/unit/text ingestion_pipeline_tests/unit/sources \
	ingestion_pipeline_tests/unit/cli ingestion_pipeline_tests/staging ingestion_pipeline_tests/defs \
	ingestion_pipeline_tests/dagster_runtime ingestion_pipeline_tests/integration/test_city_day.py

# One process more than there are cores: many tests wait for a process or for a time limit.
pytest = -m pytest -n $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1) --maxprocesses 4 --dist loadfile --no-loadscope-reorder

SAMPLE_CITY = monaco
SAMPLE_DAYS = 2021-04-21 2023-12-26
SAMPLE_MAP = $(CURDIR)/data/monaco.html

.DEFAULT_GOAL := help
.PHONY: help run dev dev-cluster test test-fast test-lowest test-python test-histories test-hosts coverage check site build release \
	bench lock audit clean

help: ## List the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/'

run: $(VENV)/.run ## Stage two real days of Monaco, and write a map of what changed between them
	@$(BIN)/poi-ingest migrate
	@for day in $(SAMPLE_DAYS); do $(BIN)/poi-ingest run --city $(SAMPLE_CITY) --day $$day || exit; done
	@echo
	@echo 'Next:'
	@[ -n "$$DATABASE_URL" ] || echo '  open $(DATA_DIR)/staging.gpkg in QGIS'
	@echo '  export the day to a file:'
	@echo '    $(BIN)/poi-ingest export --city $(SAMPLE_CITY) --day $(lastword $(SAMPLE_DAYS)) --format geojson'
	@echo '  make run     again: nothing changes, no row is written'
	@echo '  make dev     the Dagster UI with all cities and days'
	@echo '  a city from Overpass (a server that you may use):'
	@echo '    OVERPASS_URL=https://.../api/interpreter OVERPASS_CONTACT=you@example.org \'
	@echo '      $(BIN)/poi-ingest run --city saint-petersburg --day '"$$(date -u +%F)"
	@echo '  your own city: docs/adding-a-city.md'
	@echo '  open the map in a browser; it needs no network'
	@echo
	@$(BIN)/poi-ingest map --city $(SAMPLE_CITY) --from $(firstword $(SAMPLE_DAYS)) \
		--day $(lastword $(SAMPLE_DAYS)) --out $(SAMPLE_MAP)

dev: $(VENV)/.run ## Start the Dagster UI, its daemon and the admin API (UI_PORT=3000 API_PORT=8000)
	@exec $(BIN)/poi-ingest dev

dev-cluster: $(VENV)/.dev ## The same, with Redis and two workers of Celery that execute the runs
	@scripts/system-packages cluster
	@exec $(BIN)/poi-ingest dev --workers 2

test: $(VENV)/.dev ## Run all tests, with a private PostgreSQL + PostGIS
	@scripts/system-packages test
	@$(BIN)/python $(pytest) $(PYTEST_ARGS)

test-fast: $(VENV)/.dev ## Run the fast tier of tests: no server, no process, under two minutes
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal -m 'not slow' $(PYTEST_ARGS)

test-histories: $(VENV)/.dev ## Try 500 random histories of promotions on each database, and kill 50 of them
	@scripts/system-packages test
	@HISTORIES=$${HISTORIES:-500} PROMOTION_KILLS=$${PROMOTION_KILLS:-50} \
		$(BIN)/python -m pytest -n 0 --timeout=0 \
		ingestion_pipeline_tests/promotion/test_histories.py \
		ingestion_pipeline_tests/promotion/test_at_once.py $(PYTEST_ARGS)

test-hosts: $(VENV)/.dev ## Kill and cut off the hosts of a platform a hundred times, as root, in an hour (HOSTS_SEED=number)
	@[ "$$(id -u)" = 0 ] || { echo 'make test-hosts makes network namespaces, which needs root: call it by sudo' >&2; exit 2; }
	@scripts/system-packages test
	@scripts/system-packages hosts
	@TEST_HOSTS=1 $(BIN)/python -m pytest -n 0 -s ingestion_pipeline_tests/integration/test_hosts.py $(PYTEST_ARGS)

test-python: $(VENV)/.dev ## Run the fast tier with each supported Python that is installed
	@scripts/test-python $(BIN)/uv $(PYTEST_ARGS)

coverage: $(VENV)/.dev ## Run all tests, and report which lines they reach: build/coverage/index.html
	@scripts/system-packages test
	@mkdir -p build
	@$(BIN)/python $(pytest) --cov --cov-report=term:skip-covered --cov-report=html $(PYTEST_ARGS)

test-lowest: $(VENV)-lowest/.done ## Run a short tier of tests with the oldest packages that are allowed
	@scripts/system-packages test
	@$(VENV)-lowest/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(SHORT_TIER) \
		$(PYTEST_ARGS)

lock: $(VENV)/.dev ## Choose the newest packages that pyproject.toml allows, and write requirements/
	@scripts/lock $(BIN)/uv

audit: $(VENV)/.dev ## Look for known vulnerabilities of the packages in requirements/
	@scripts/audit $(BIN)

check: $(VENV)/.dev ## Run the linter, the type checker, the manual's strict build and the tests of structure and documents
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(build_site)
	@$(BIN)/python -m pytest -qq -m 'not postgis' \
		ingestion_pipeline_tests/unit/test_architecture.py ingestion_pipeline_tests/unit/test_docs.py

site: $(VENV)/.dev ## Build the manual, which the admin API serves under /manual
	@$(build_site)

build: site ## Build sdist and wheel in dist/, with the manual in both
	@rm -rf build/lib build/bdist.* dist
	@$(BIN)/python -m build --no-isolation --outdir dist >build/build.log 2>&1 || { cat build/build.log; exit 1; }
	@$(BIN)/twine check --strict dist/*

release: build ## Check the version and the changelog, and list what would be published
	@$(BIN)/python scripts/release.py dist

bench: $(VENV)/.bench ## Measure speed and memory beside other tools (BENCH_ARGS=--full: all of it)
	@scripts/system-packages bench || echo 'what needs them is reported as absent' >&2
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

clean: ## Remove what the other commands made, but no data
	@rm -rf $(VENV) $(VENV)-* .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info ingestion_pipeline/manual

$(VENV)/.run: pyproject.toml requirements/deploy.txt | $(VENV)/bin/python
	@echo 'installing packages into $(VENV) ...'
	@$(call install,deploy)
	@touch $@

$(VENV)/.dev: pyproject.toml requirements/dev.txt | $(VENV)/bin/python
	@echo 'installing packages for development into $(VENV) ...'
	@$(call install,dev)
	@touch $@ $(VENV)/.run

$(VENV)/.bench: $(VENV)/.dev
	@echo 'installing the tools to compare with into $(VENV) ...'
	@$(uv_install) --editable '.[bench]' || $(with_pip) --editable '.[bench]'
	@touch $@

# The oldest releases that pyproject.toml allows; of what is only used for tests the newest.
$(VENV)-lowest/.done: pyproject.toml requirements/lowest.txt $(VENV)/.dev
	@test -x $(BIN)/uv || { echo 'this needs uv, which there is none of for this platform'; exit 2; }
	@echo 'installing the oldest packages into $(VENV)-lowest ...'
	@rm -rf $(VENV)-lowest
	@$(BIN)/python -m venv $(VENV)-lowest
	@$(BIN)/uv pip install --quiet --system-certs --compile-bytecode --only-binary :all: \
		--python $(VENV)-lowest/bin/python --requirement requirements/lowest.txt \
		--constraint requirements/lowest.txt --requirement requirements/tests.in \
		--requirement requirements/build.in
	@$(BIN)/uv pip install --quiet --system-certs --python $(VENV)-lowest/bin/python $(this)
	@touch $@

$(VENV)/bin/python:
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or later is missing; install it, or call make with PYTHON=/path/to/python'; exit 2; }
	@PYTHON='$(PYTHON)' scripts/system-packages run
	@$(PYTHON) -m venv $(VENV)
