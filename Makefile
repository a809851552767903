# Every target does the set-up it needs by itself; a second run finds it done. Run as root on Debian 12/13 or Ubuntu 24.04.
# The distribution's own Python where it is new enough: it is built with optimisations that every start of a container feels.
PYTHON ?= $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo /usr/bin/python3 || echo python3)
PORT   ?= 8888
VENV   := .venv
BIN    := $(VENV)/bin
SHELL  := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Two groups of tests at a time; tests/conftest.py says which tests have to stay together, and keeps their engines apart.
WORKERS ?= 2
PYTEST  := $(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder

help:
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1|/' | while IFS='|' read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

lab: setup  ## open JupyterLab on the lessons, on 127.0.0.1 (make lab PORT=8888)
	@echo "Opening the course. Stop it with Ctrl-C."
	@exec $(BIN)/jupyter lab notebooks --ip=127.0.0.1 --port=$(PORT) --no-browser --allow-root \
		--KernelManager.transport=ipc --ServerApp.log_level=WARN --LabApp.log_level=WARN \
		--LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate

test: setup browser  ## pass every test, the lessons included
	@$(PYTEST) tests

# Compiled ahead: where Python may not write bytecode (PYTHONDONTWRITEBYTECODE) every start would compile all of it again.
setup: packages $(VENV)/.done  ## install what is missing; afterwards .venv/bin/minidocker works
	@$(BIN)/python -m compileall -q minidocker
	@$(BIN)/minidocker system setup

demo: setup  ## one container with a memory limit, and what each kernel feature did for it
	@$(BIN)/minidocker demo

notebooks: setup browser  ## run every lesson on the live kernel and compare its outputs (nbval)
	@$(PYTEST) tests/notebooks

bench: setup  ## side by side with docker, podman and runc, as far as they are installed
	@$(BIN)/python bench/run.py

# The course's machine as a box for libvirt and QEMU (see README). What takes long is kept in BOX_CACHE under a key of its inputs.
box:  ## build a ready virtual machine from Debian's packages: build/box/minidocker.box
	@vagrant/packages.sh vm
	@vagrant/box.sh build/box/minidocker.box

# The test ends with make, whatever ends make.
test-vm:  ## the virtual machine for real, without KVM: box, vagrant up, lab, tests and lessons inside, reload, destroy
	@vagrant/packages.sh vm
	@exec setpriv --pdeathsig KILL /usr/bin/python3 tests/vm/run.py $(VM_OPTIONS)

lint: $(VENV)/.done  ## ruff, mypy and the import rules
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

clean:  ## remove what make made here; images and containers stay
	rm -rf $(VENV) build bench/results *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Asked every time instead of remembered: the answer takes 0.1 s and stays true when the directory moves to another machine.
packages:
	@vagrant/packages.sh base

# For the tests only. Where the distribution has no chromium package (see packages.sh), playwright brings its own.
browser: $(VENV)/.done
	@vagrant/packages.sh test
	@[ -x /usr/bin/chromium ] || $(BIN)/python -m playwright install --with-deps chromium

# An environment that works is kept, whatever Python it was made with; only its packages are brought up to date.
$(VENV)/.done: pyproject.toml vagrant/packages.sh | packages
	@command -v $(PYTHON) >/dev/null || { echo "No $(PYTHON) on PATH. Name one: make setup PYTHON=/usr/bin/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "minidocker needs Python 3.11 or newer," \
		"and $(PYTHON) is $$($(PYTHON) --version 2>&1 | head -n 1). Name another: make setup PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing the Python environment in $(VENV) (about 450 MB, half a minute)"
	@$(BIN)/python -c 'import subprocess' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable '.[course,test]'
	@touch $@

.PHONY: help lab test setup demo notebooks bench box test-vm lint clean packages browser
