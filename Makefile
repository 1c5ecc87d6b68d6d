# make demo | test (= lint, tests) | slow | mutants | faults | same | docs | install | clean. Each does its
# own set-up in $(VENV).
VENV   ?= .venv
EXTRAS ?= test
BIN    := $(VENV)/bin
# The first of these that runs (a name on PATH may be a version manager's empty shim).
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
# Test processes; tests that share a fixture stay together (tests/conftest.py).
WORKERS ?= 2
PYTEST  = $(BIN)/python -m pytest -n $(WORKERS) --dist=loadgroup
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# One stamp for each set of extras, so that an install happens only when setup.py changed.
STAMP   = $(VENV)/.installed-$(subst $(comma),+,$(1))
comma  := ,

.PHONY: demo install test tests lint slow mutants faults same docs clean
.DELETE_ON_ERROR:

demo: $(call STAMP,base)
	$(BIN)/electra-jax demo

install: $(call STAMP,$(EXTRAS))

test: lint tests

tests: $(call STAMP,$(EXTRAS))
	$(PYTEST)

lint: $(call STAMP,$(EXTRAS))
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy --no-error-summary

# Every kind, option and real process that the tests above show by two of their sort.
slow: $(call STAMP,$(EXTRAS))
	$(PYTEST) -m slow

faults: $(call STAMP,$(EXTRAS))
	$(BIN)/python -m pytest -m faults

# Plants known bugs one at a time and expects an ordinary test to catch each.
mutants: $(call STAMP,$(EXTRAS))
	$(BIN)/python tests/mutants/run.py

# Is every number what an earlier commit computes? WORDS='finetune/ner --quick' chooses.
same: $(call STAMP,$(EXTRAS))
	$(BIN)/python tests/same_numbers.py $(WORDS)

# The pages of docs/ as HTML; every warning is an error.
docs: $(call STAMP,docs)
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going docs docs/build/html

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "no Python >= 3.11 found; name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(call STAMP,base): setup.py | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-%: setup.py | $(BIN)/python
	$(PIP) --editable '.[$(subst +,$(comma),$*)]'
	@touch $@

clean:
	rm -rf $(VENV) build dist docs/build docs/generated *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
