# Thin shell over `python -m annotate`, `python -m retrieval` and `python -m sample`. Every target makes what it needs by itself.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.SUFFIXES:

PYTHON ?= python3
VENV := .venv
TEACHER_VENV := .venv-teacher
RUN := $(VENV)/bin/python
DATASET ?= cirr

# A variable given to make reaches the command line as CIR_<NAME>; an empty one means "not given".
SETTINGS := DATASET SPLIT CATEGORY ROOT OUT LIMIT SEED TEACHER TEACHER_URL TEACHER_MODEL TEACHER_SEES_TARGET ALLOW_MISSING \
            RUNNER CONCURRENCY CHECKS CHANCES THRESHOLDS
$(foreach name,$(SETTINGS),$(eval export CIR_$(name) = $(value $(name))))

.PHONY: help
help: ## this list
	@echo "make TARGET [NAME=value …]"; echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 18
	@echo; echo "settings: $(SETTINGS)"; echo "          explained by: make setup && $(RUN) -m annotate run --help"

.PHONY: setup
setup: $(VENV)/.installed $(TEACHER_VENV)/.installed ## build .venv (project) and .venv-teacher (vLLM)

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "== project environment: $(VENV) (about 2.5 minutes, 1.7 GB)"
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
