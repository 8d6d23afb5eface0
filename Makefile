# make demo | test | lint | bench | docs | clean | distclean
# Everything happens in .venv, which is made on the first use and changed only when pyproject.toml was.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# --no-compile: what is imported gets compiled then; compiling all of torch at once costs 15 s.
# torch has to be named in the same pip call as the rest: a later resolution without the exact pin
# would replace the CPU build by several gigabytes of CUDA packages.
TORCH := torch==2.13.0
DEMO_DIR ?= demo-run
DEMO_ARGS ?=
TEST_ARGS ?=
BENCH ?= filter_speed ar_speed sem_speed folder_speed memory undo verify_throughput keys leak_frontier \
	likeness null_runs evidence_null slow_tests effect leaderboard answers signs medical t2ue taggants leximark sleepermark \
	scramble_speed scrambled_learning code_learning audits code_audits learned_audits keyed_models fleets detectors

# An environment whose interpreter has gone (moved folder, upgraded system Python) is made anew.
ifneq ($(shell $(BIN)/python -c 'print(1)' 2>/dev/null),1)
$(shell rm -f $(VENV)/.made)
endif

.NOTPARALLEL:
.PHONY: help demo test lint bench docs clean distclean

help:
	@echo "make demo       the whole story on embedded photographs; prints where the report is"
	@echo "make test       the test suite (what needs long trainings is in make bench)"
	@echo "make lint       ruff, mypy, import-linter"
	@echo "make bench      speed and effect measurements, written to benchmarks/results (hours;"
	@echo "                one of them: make bench BENCH=filter_speed)"
	@echo "make docs       the documentation, with the pages made from the code, in site/"
	@echo "make clean      caches and demo output; make distclean also removes $(VENV)"

# Order matters for the two stamps: they are written last, so an interrupted install is simply repeated.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "noli needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Install one and name it: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 3; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "This Python cannot make environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
		exit 3; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.made
	$(BIN)/python -m pip install --quiet --no-compile "$(TORCH)" -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.made
	$(BIN)/python -m pip install --quiet --no-compile "$(TORCH)" -e ".[dev]"
	@touch $(VENV)/.installed $@

$(VENV)/.installed-docs: pyproject.toml $(VENV)/.made
	$(BIN)/python -m pip install --quiet --no-compile "$(TORCH)" -e ".[docs]"
	@touch $(VENV)/.installed $@

demo: $(VENV)/.installed
	@$(BIN)/noli demo $(DEMO_DIR) $(DEMO_ARGS)

# Two workers of one thread each: two of two would wait for each other on two cores. A file stays with its
# worker, so that what its tests share is made once. A worker that dies ends the run: its replacement would leave
# the run waiting for ever.
test: $(VENV)/.installed-dev
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --max-worker-restart 0 --dist loadfile -m "not slow" $(TEST_ARGS)

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.installed-dev
	@set -e; for name in $(BENCH); do echo "== $$name"; \
		if [ $$name = slow_tests ]; then OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m slow; \
		else $(BIN)/python benchmarks/$$name.py; fi; done

docs: $(VENV)/.installed-docs
	@$(BIN)/python docs/generate.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "site/index.html"

clean:
	rm -rf docs/methods docs/benchmarks.md docs/leaderboard.md docs/medical-figures.md
	rm -rf $(DEMO_DIR) $(DEMO_DIR).*noli build dist site .coverage .coverage.*
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean
	rm -rf $(VENV)
