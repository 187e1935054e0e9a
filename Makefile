# Everything a person does here is one word: `make demo`, `make test`, `make lint`, `make bench`.
# PYTHON=3.11 does it in a second environment, .venv-3.11, with the newest Ansible that Python can have.
# LAB=required makes a test that could not run a failure.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv$(PYTHON:%=-%)
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export LAB

EACH := unit contract integration playbooks roles lint labs
TIERS := $(EACH)
DEMO_SERVERS := PYTHONPATH=collections $(VENV)/bin/python -m lab.embedded

.PHONY: help
help:
	@echo "make demo        real servers on this machine, backed up, pruned and verified; again: nothing due"
	@echo "make demo-stop   stop the demo's servers (demo-clean: and delete its data)"
	@echo "make lab-up      real systems: ERNI and SME on a Docker Engine, VALEO on Kubernetes (SYSTEM=erni: one alone); lab-status, lab-down"
	@echo "make test        every tier, $(EACH); or one of them by its name"
	@echo "make bench       the speed figures of docs/benchmarks.md"
	@echo "make lock        pin requirements-dev.in again (UPGRADE=1: at newer versions)"
	@echo "make clean       delete what make made, the demo's data excepted"

.PHONY: venv
venv: $(READY)

$(READY): requirements-dev.lock .ci/uv.lock
	python=$$(.ci/find-python $(PYTHON)) && "$$python" -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .ci/uv.lock
	$(VENV)/bin/uv pip sync --quiet --require-hashes --python $(VENV)/bin/python requirements-dev.lock .ci/uv.lock
	touch $@

DEMO_INVENTORIES = inventories/demo
.PHONY: demo demo-stop demo-clean
demo: $(READY)
	@$(VENV)/bin/ansible-playbook $(DEMO_INVENTORIES:%=-i %) playbooks/demo.yml
demo-stop: $(READY)
	@told=$$($(DEMO_SERVERS) down) && case "$$told" in \
	*'"exists": false'*) echo "There is no demo here: make demo starts one." ;; \
	*) echo "The demo's servers are stopped. Its data is kept: make demo goes on, make demo-clean deletes it." ;; \
	esac
demo-clean: $(READY)
	@$(DEMO_SERVERS) clean >/dev/null && echo "The demo's servers are stopped, and its data is deleted."

.PHONY: lab-up lab-status lab-down
lab-up lab-status lab-down: $(READY)
	@$(VENV)/bin/python -m lab $(@:lab-%=%) $(SYSTEM) $(DATA:%=--data)

.PHONY: test $(EACH)
test: $(READY)
	@$(VENV)/bin/python .ci/tiers.py $(TIERS)
$(EACH): $(READY)
	@$(VENV)/bin/python .ci/tiers.py $@

.PHONY: bench
bench: $(READY)
	@PYTHONPATH=.:collections:tests $(VENV)/bin/python -m benchmarks.run

.PHONY: lock
lock: $(READY)
	cd .ci && UV_CUSTOM_COMPILE_COMMAND="make lock" $(CURDIR)/$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes $(UPGRADE:%=--upgrade) uv.in -o uv.lock
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(CURDIR)/$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes $(UPGRADE:%=--upgrade) requirements-dev.in -o requirements-dev.lock
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(CURDIR)/$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes -c requirements-dev.lock roles/host/files/requirements.in -o roles/host/files/requirements.lock

.PHONY: clean
clean:
	rm -rf .venv .venv-3.11 .venv-3.12 .venv-3.13 .cache .ansible .hypothesis .mypy_cache .pytest_cache .ruff_cache *.tar.gz
