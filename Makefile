# `make serve`, `make install` and `make test` set up all they need in .venv; see README.md.
VENV := .venv
PYTHON ?= python3
SETUP := setup.py requirements.txt gimel/__init__.py pyproject.toml

# In two steps, because pip checks the hashes of requirements.txt only where everything it installs has one.
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check

# Each worker has servers and a browser of its own; the tests of a file share them. Three workers, even on two cores, as
# they wait for servers part of the time. tests/conftest.py orders the files.
PYTEST := $(VENV)/bin/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

.PHONY: serve install test test-fast check faults benchmark scale screenshots validate-statistics clean

serve: $(VENV)/serve.stamp
	@$(VENV)/bin/gimel serve $(ARGS)

# The command, with all that `gimel deploy` needs.
install: $(VENV)/install.stamp
	@echo 'The command is $(CURDIR)/$(VENV)/bin/gimel; `. $(VENV)/bin/activate` puts it on your PATH.'

test: check
	$(PYTEST) $(ARGS)

# In about a minute: all but browsers, simulations, and whatever else is slow.
test-fast: check
	$(PYTEST) -m 'not slow' $(ARGS)

check: $(VENV)/test.stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# Simulates experiments, and writes docs/evidence.md with its plots. Takes about a quarter of an hour on two cores.
validate-statistics: $(VENV)/test.stamp
	$(VENV)/bin/python -m tests.validation

# Breaks Redis, the network and the servers while visitors send events, and writes docs/reliability.md. Takes about a
# quarter of an hour on two cores.
faults: $(VENV)/test.stamp
	$(VENV)/bin/python -m tests.faults $(ARGS)
	$(VENV)/bin/python -m tests.faults.generated

# Measures what an event costs Redis, prints the tables of docs/scale.md, and draws its plot. Takes two minutes.
scale: $(VENV)/test.stamp
	$(VENV)/bin/python -m tests.benchmarks.queueing

# Measures Gimel, its predecessors and the least possible in turns, and writes docs/benchmark.md. Needs wrk, a quiet
# machine, and about ten minutes on two cores.
benchmark: $(VENV)/test.stamp
	$(VENV)/bin/python -m tests.benchmarks $(ARGS)

# The pictures of the dashboard in docs/, and docs/demo.html, its export of the demo.
screenshots: $(VENV)/test.stamp
	$(VENV)/bin/python -m docs.screenshots

clean:
	rm -rf $(VENV) .cache build dist *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo 'Python cannot make virtual environments here: install the Debian package python3-venv.' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/install.stamp: $(SETUP) | $(VENV)/bin/python
	$(PIP) -r requirements.txt
	$(PIP) -e .
	@touch $@

$(VENV)/serve.stamp: $(SETUP) | $(VENV)/bin/python
	$(PIP) -r requirements.txt
	$(PIP) -e '.[local]'
	@touch $@ $(VENV)/install.stamp

$(VENV)/test.stamp: $(SETUP) | $(VENV)/bin/python
	$(PIP) -r requirements.txt
	$(PIP) -e '.[local,test]'
	@touch $@ $(VENV)/install.stamp $(VENV)/serve.stamp
