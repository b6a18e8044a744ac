# The only doors; CI goes through them too. `make PYTHON=path/to/python test` picks an environment.
PYTHON ?= python
PYTEST_ARGS ?=
LOCK := requirements-ci.lock
PEERS := .venv-peers
# The genuine server that the contract suite runs against: MinIO's community edition is given out
# as source only. A module version, as the repository's own tags are none that Go accepts.
MINIO_VERSION := v0.0.0-20260212201848-7aac2a2c5b7c
MINIO := .minio/bin/minio
# The benchmarks run their peers in this second environment when it is there.
ifneq ($(wildcard $(PEERS)/bin/python),)
export BENCH_PEERS_PYTHON ?= $(abspath $(PEERS)/bin/python)
endif

.PHONY: help check test stress bench bench-peers demo minio lock clean

help:
	@echo "make check        formatting, lint, types, direction of imports"
	@echo "make test         every test but the stress tests, and the doctests"
	@echo "make stress       load and endurance tests"
	@echo "make bench        every published figure, one JSON line each"
	@echo "make bench-peers  the environment for peers that cannot share ours"
	@echo "make demo         the README's tour on the embedded server"
	@echo "make minio        a genuine MinIO server for the contract suite, where Go is"
	@echo "make lock         $(LOCK) from pyproject.toml (UPGRADE=1 takes the newest)"
	@echo "make clean        removes what the other doors left behind"

check:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -c "from importlinter.cli import lint_imports_command as lint; lint()" --no-logo

test:
	$(PYTHON) -m pytest --doctest-modules stockdb $(PYTEST_ARGS)
	$(PYTHON) -m pytest -m "not stress" $(PYTEST_ARGS)

stress:
	$(PYTHON) -m pytest -m stress $(PYTEST_ARGS)

bench:
	$(PYTHON) -m benchmarks

bench-peers:
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --upgrade pip
	$(PEERS)/bin/python -m pip install --quiet --group peers
	@echo "$(PEERS)/bin/python is ready; make bench uses it"

demo:
	$(PYTHON) -m stockdb demo

# Nothing to do without Go: the suite then says that this server is absent.
minio:
	@if ! command -v go >/dev/null; then \
	    echo "no Go here: no genuine MinIO server; the contract suite goes on without it"; \
	elif go version -m $(MINIO) 2>/dev/null | grep -qF $(MINIO_VERSION); then \
	    echo "$(MINIO) is $(MINIO_VERSION) already"; \
	else \
	    GOBIN="$(abspath $(dir $(MINIO)))" GOFLAGS="-p=2 -buildvcs=false" CGO_ENABLED=0 \
	        go install -trimpath -ldflags="-s -w" github.com/minio/minio@$(MINIO_VERSION) && \
	    echo "$(MINIO) is $(MINIO_VERSION)"; \
	fi

lock:
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(PYTHON) -m uv pip compile pyproject.toml --quiet \
	    --all-extras --generate-hashes --python-version 3.11 $(if $(UPGRADE),--upgrade) --output-file $(LOCK)

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis htmlcov $(PEERS) .minio
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
