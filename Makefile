# Thin shell over `python -m annotate`, `python -m retrieval` and `python -m sample`. Every target makes what it needs by itself.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.SUFFIXES:

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

# Every setting of annotate/settings/declared.py. One that is given reaches the command line as CIR_<NAME>, letter by
# letter; an empty one means "not given". Other programs keep PORT and TIMEOUT in the environment, so it gives neither.
SETTINGS := DATASET SPLIT CATEGORY ROOT LIMIT SEED OUT TEACHER TEACHER_MODEL TEACHER_URL TEACHER_FLAGS TEACHER_PYTHON \
            TEACHER_SEES_TARGET ENCODER_URL IMAGE_RECIPE CAPTION_MODE TEMPERATURE TOP_P SAMPLING_SEED CAPTION_TOKENS \
            REASONING_TOKENS CONCLUSION_TOKENS THRESHOLDS CHECKS CHANCES GUIDED EARLY_STOP RUNNER CONCURRENCY \
            SHARD_SIZE TIMEOUT PORT PREFECT_API ALLOW_MISSING
is-given = $(and $(value $(1)),$(or $(filter-out PORT TIMEOUT,$(1)),$(filter command,$(origin $(1)))))
$(foreach name,$(SETTINGS),$(if $(call is-given,$(name)),$(eval export CIR_$(name) = $$(value $(name)))))

# What each target reads; a variable that it does not would start the whole job as if it had not been given.
ANNOTATION := $(SETTINGS) $(addprefix CIR_,$(SETTINGS)) TEACHER_REQUIREMENTS
READ_annotate := $(ANNOTATION)
READ_doctor := $(ANNOTATION)
READ_serve-teacher := $(ANNOTATION)
READ_select := OUT THRESHOLDS PRECISION
READ_prove := OUT TEACHER_URL ROWS SEED FULL DOCS THRESHOLDS TEACHER_REQUIREMENTS
READ_train-eval := DATA IMAGE_ROOT EVAL_ROOT BASE_MODEL TRAIN_FLAGS OUT ABLATIONS SEEDS ALLOW_MISSING RUNNER PREFECT_API
READ_sample := DATASET SEED
READ_sample-models := MINUTES PICTURES OUT
READ_setup := TEACHER_REQUIREMENTS
READ_teacher-environment := TEACHER_REQUIREMENTS
READ_test := TEACHER_REQUIREMENTS
GOALS := annotate doctor serve-teacher select prove train-eval sample sample-models setup teacher-environment test \
         project ui bench soak crash check audit lint clean
ENVIRONMENT := TEACHER_API_KEY SHELL TMPDIR PREFECT_API_% PIP_% HF_% HUGGINGFACE_% VLLM_% CUDA_% NVIDIA_% NCCL_% OMP_% TORCH_% \
               TRANSFORMERS_% XDG_% HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy PYTHON VENV RUN
KNOWN := $(sort $(foreach goal,$(GOALS),$(READ_$(goal))))
GIVEN := $(filter-out $(ENVIRONMENT),$(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name))))
UNKNOWN := $(firstword $(filter-out $(KNOWN),$(GIVEN)))
NEAREST = $(shell $(PYTHON) -c 'import difflib, sys; print(*difflib.get_close_matches(sys.argv[1].upper(), sys.argv[2:], 1))' \
            '$(subst ','\'',$(UNKNOWN))' $(filter-out CIR_%,$(KNOWN)))
$(if $(UNKNOWN),$(error $(UNKNOWN) is no variable of this Makefile; $(or $(NEAREST:%=did you mean %?),`make help` lists them)))
ifneq ($(MAKECMDGOALS),)
ifeq ($(filter-out $(GOALS),$(MAKECMDGOALS)),)
UNREAD := $(firstword $(filter-out $(foreach goal,$(MAKECMDGOALS),$(READ_$(goal))),$(GIVEN)))
$(if $(UNREAD),$(error $(UNREAD) means nothing to $(MAKECMDGOALS); `make help` lists what each target takes))
endif
endif

ifneq ($(filter train-eval,$(MAKECMDGOALS)),)
$(if $(filter-out local prefect,$(RUNNER)),$(error RUNNER is local or prefect, not $(RUNNER)))
$(if $(filter-out 0 1,$(ALLOW_MISSING)),$(error ALLOW_MISSING is 1 or 0, not $(ALLOW_MISSING)))
endif

ifneq ($(filter prove,$(MAKECMDGOALS)),)
$(foreach name,FULL DOCS,$(if $(filter-out 0 1,$($(name))),$(error $(name) is 1 or 0, not $($(name)))))
endif

# An unset shell variable (ROOT=$CIRR) must not start a job on other data than meant.
$(if $(filter command,$(origin ROOT)),$(if $(value ROOT),,$(error ROOT is empty; give the folder of your data, or leave ROOT out for the rendered sample)))

.PHONY: help
help: ## this list
	@echo "make TARGET [NAME=value …]"; echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 18
	@echo; echo "annotate, doctor, serve-teacher (explained by: make setup && $(RUN) -m annotate run --help):"
	@echo "$(SETTINGS)" | fold -s -w 100 | sed 's/^/  /'
	@echo "train-eval (explained by: $(RUN) -m retrieval train-eval --help):"; echo "  $(READ_train-eval)"
	@$(foreach goal,select prove sample sample-models,echo "$(goal): $(READ_$(goal))";)
	@echo "setup: PYTHON, TEACHER_REQUIREMENTS (a build of vLLM of your own)"

.PHONY: setup
setup: project teacher-environment ## build .venv (project) and .venv-teacher (vLLM)

suitable = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))

.PHONY: project
project: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "== project environment: $(VENV) (about 2.5 minutes, 1.7 GB)"
	@$(RUN) -c 'import pip; $(suitable)' 2>/dev/null || { \
	  $(PYTHON) -c '$(suitable)' || { echo "$(PYTHON) is no Python 3.11 or 3.12; name one: PYTHON=python3.11" >&2; exit 2; }; \
	  $(PYTHON) -m venv --clear $(VENV); }
	@$(RUN) -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

.PHONY: teacher-environment
teacher-environment:
	@python='$(PYTHON)'; test ! -x $(RUN) || python=$(RUN); $$python -m annotate.teacher.environment .venv-teacher

.PHONY: sample
sample: project ## write the rendered sample of DATASET (SEED=7) into outputs/sample/
	@$(RUN) -m sample write --dataset $(or $(DATASET),cirr) --seed $(or $(SEED),7) \
	  --out outputs/sample/$(or $(DATASET),cirr)-seed$(or $(SEED),7)

.PHONY: sample-models
sample-models: project ## train the sample's tiny models again: teacher, base, CLIP (hours; resumes); MINUTES of each, PICTURES, OUT
	@$(RUN) -m sample.teacher train --work outputs/sample-models --out '$(or $(OUT),sample/models)/teacher' \
	  $(if $(MINUTES),--minutes '$(MINUTES)') $(if $(PICTURES),--pictures '$(PICTURES)')
	@$(RUN) -m sample.base train --work outputs/sample-models --out '$(or $(OUT),sample/models)/base' \
	  $(if $(MINUTES),--minutes '$(MINUTES)') $(if $(PICTURES),--count '$(PICTURES)')
	@$(RUN) -m sample.clip train --work outputs/sample-models --out '$(or $(OUT),sample/models)/clip' \
	  $(if $(MINUTES),--minutes '$(MINUTES)') $(if $(PICTURES),--count '$(PICTURES)')

.PHONY: annotate
annotate: project $(if $(TEACHER_URL)$(TEACHER_PYTHON),,teacher-environment) ## annotate DATASET; the sample by default, your data with ROOT=
	@$(RUN) -m annotate run --runner $(or $(RUNNER),prefect)

.PHONY: select
select: project ## derive the verdicts of OUT=outputs/… anew, e.g. THRESHOLDS=p_edits=0.9 or PRECISION=0.99; no teacher
	@$(RUN) -m annotate select --out '$(OUT)' $(if $(THRESHOLDS),--thresholds '$(THRESHOLDS)') $(if $(PRECISION),--precision '$(PRECISION)')

.PHONY: prove
prove: project $(if $(TEACHER_URL),,teacher-environment) ## spoil good sample rows in known ways and see what each check catches
	@$(RUN) -m sample prove $(if $(OUT),--out '$(OUT)') $(if $(TEACHER_URL),--teacher-url '$(TEACHER_URL)') \
	  $(if $(ROWS),--rows '$(ROWS)') $(if $(SEED),--seed '$(SEED)') $(if $(filter 1,$(FULL)),--full) $(if $(filter 1,$(DOCS)),--docs) \
	  $(if $(THRESHOLDS),--thresholds '$(THRESHOLDS)')

.PHONY: train-eval
train-eval: project ## train the retriever on annotated shards and measure it; ABLATIONS=0: in minutes
	@$(RUN) -m $(if $(filter local,$(RUNNER)),retrieval,flows) train-eval \
	  $(foreach folder,$(DATA),--data '$(folder)') $(foreach root,$(EVAL_ROOT),--eval-root '$(root)') \
	  $(foreach root,$(IMAGE_ROOT),--image-root '$(root)') $(if $(BASE_MODEL),--base-model '$(BASE_MODEL)') \
	  $(if $(OUT),--out '$(OUT)') $(if $(ABLATIONS),--ablations '$(ABLATIONS)') \
	  $(if $(SEEDS),--seeds '$(SEEDS)') $(if $(filter 1,$(ALLOW_MISSING)),--allow-missing) $(TRAIN_FLAGS)

.PHONY: ui
ui: project ## start a Prefect server on http://127.0.0.1:4200 that `make annotate` then uses
	@$(RUN) -m flows.ui

.PHONY: serve-teacher
serve-teacher: project $(if $(TEACHER_PYTHON),,teacher-environment) ## start the teacher in vLLM and keep it until Ctrl-C
	@$(RUN) -m annotate serve-teacher

.PHONY: doctor
doctor: project ## check machine, environments, ports, server and data
	@$(RUN) -m annotate doctor

.PHONY: bench
bench: project ## what asking costs: CPU and wall time a request, against a server of our own (a minute)
	@$(RUN) -m bench.asking

.PHONY: soak
soak: project ## 5,000 triplets against a server that fails all the time: none lost, none wrong (minutes)
	@$(RUN) -m bench.soak

.PHONY: crash
crash: project ## 200 SIGKILLs at random instants: the bytes of an undisturbed run (minutes)
	@$(RUN) -m bench.crash

.PHONY: check
check: lint audit ## format, lint, types, dependencies, quick tests (two minutes)
	@$(RUN) -m pytest -q -m 'not slow' --numprocesses auto --dist loadfile

.PHONY: audit
audit: project ## known vulnerabilities in what is locked; offline it says that it could not look
	@$(RUN) -m bench.audit

.PHONY: lint
lint: project ## ruff and mypy
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .
	@$(RUN) -m mypy schemas annotate flows sample retrieval bench tests

.PHONY: test
test: project teacher-environment ## the whole test suite, with real vLLM and real Prefect
	@$(RUN) -m pytest -q

.PHONY: clean
clean: ## remove both environments and caches; outputs/ stays
	rm -rf $(VENV) .venv-teacher *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
