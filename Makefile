# make demo: see it work.   make check: the fast loop, seconds.   make test: everything.
# Each makes its own environment (.venv, .venv-demo) the first time.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
COMPILE = uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url

DEMO   ?= .venv-demo

.PHONY: demo check test bench bench-peers bench-examples lint types protos lock clean services

demo: $(DEMO)/.ready
	$(DEMO)/bin/cascade demo

$(DEMO)/.ready: requirements-demo.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed"; exit 1; }
	@echo "making an environment in $(DEMO), once"
	@$(PYTHON) -m venv $(DEMO)
	@$(DEMO)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-demo.lock
	@$(DEMO)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

check: $(READY) lint types
	$(BIN)/python -m pytest -m "not needs_services and not slow"

test: $(READY) services lint types
	$(BIN)/python -m pytest

bench: $(READY) services
	$(BIN)/python -m benchmarks $(BENCH)

bench-peers: $(READY)
	$(BIN)/python -m benchmarks.peers $(BENCH)

# The tables in the READMEs of examples, on the data that CASCADE_DATA names. One line each. With one thread: sums in
# another order train another network.
bench-examples: export OMP_NUM_THREADS = 1
bench-examples: $(READY)
	$(BIN)/python examples/fashion/measure.py
	$(BIN)/python examples/keywords/measure.py
	$(BIN)/python examples/indoor_location/measure.py
	$(BIN)/python examples/pump_anomaly/measure.py
	$(BIN)/python examples/spoken_digits/measure.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(READY)
	$(BIN)/mypy

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

services:
	$(PYTHON) tests/install_services.py

protos: $(READY)
	$(BIN)/python -m grpc_tools.protoc -Iprotos --python_out=. --pyi_out=. --grpc_python_out=. protos/cascade/wire/v1/*.proto

lock:
	$(COMPILE) --extra dev -o requirements.lock
	$(COMPILE) --extra demo --group build -o requirements-demo.lock

clean:
	rm -rf $(VENV) $(DEMO) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
