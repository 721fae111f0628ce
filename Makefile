# The one list of commands, for people and for CI.
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
WORKERS ?= 2
# Two of Ray's clusters cannot start at the same time, and the tests of an installation build on each other.
ALONE := ray or install
# Only what takes no browser, Ray, compiler, other process or installation.
QUICK := not (slow or gpu or browser or ray or compile or process or install)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := $(VENV)/.installed-for-the-demo

# uv where it is, which takes a fraction of pip's time.
UV := $(shell command -v uv 2>/dev/null)
PIP := $(if $(UV),$(UV) pip install --python $(BIN)/python,$(BIN)/python -m pip install)
# The versions of uv.lock, but for PyTorch, which $(TORCH) names.
LOCKED := $(if $(UV),--constraint $(VENV)/locked.txt)

.PHONY: install check quick test coverage slow reliability docs demo clean
install: $(STAMP)

# An interrupted installation goes on where it was: what was fetched is in the cache.
$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/locked.txt: uv.lock | $(BIN)/pip
	$(UV) export --frozen --quiet --no-hashes --no-emit-project --no-emit-package torch --extra dev --output-file $@

$(STAMP): pyproject.toml | $(BIN)/pip $(if $(UV),$(VENV)/locked.txt)
	$(PIP) "$(TORCH)"
	$(PIP) $(LOCKED) --editable '.[dev]'
	touch $@

# A third of the packages, unless all are there.
$(DEMO): pyproject.toml | $(BIN)/pip $(if $(UV),$(VENV)/locked.txt)
	test -e $(STAMP) || $(PIP) "$(TORCH)"
	test -e $(STAMP) || $(PIP) $(LOCKED) --editable '.[train,bench,cpu]'
	touch $@

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.11 tests
	$(BIN)/lint-imports
	$(BIN)/vermin --quiet --no-tips --eval-annotations --violations -t=3.10- motivnet engines export training bench

quick: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "$(QUICK)"

test: check
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not (slow or gpu or $(ALONE))"
	$(BIN)/python -m pytest -m "($(ALONE)) and not (slow or gpu)"

# Of this process and xdist's workers; what only child processes run is not counted.
coverage: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not (slow or gpu or $(ALONE))" --cov --cov-report=term

# In one process: the large sizes take most of the memory.
slow: install
	$(BIN)/python -m pytest -m slow

reliability: install demo
	$(BIN)/python tests/engines/serving/reliability/run.py all --artifact artifacts/demo

# Into site/, whose pages open without a server.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

demo: $(DEMO)
	$(BIN)/motivnet-train demo
	$(BIN)/motivnet-export build --checkpoint checkpoints/demo.safetensors --out artifacts/demo --fp16
	$(BIN)/motivnet-bench latency artifacts/demo

# What was trained, exported and measured stays: it may have taken days.
clean:
	rm -rf $(VENV) dist build site
