# make demo    phantom -> synth -> sr -> infer -> table and picture, in outputs/demo; with method=scanner, a physical model
#              of the scanner in place of the paper's G1
# make test    the fast tests, on all cores
# make study   every training of docs/results.md (about four hours of two cores); goes on where it stopped, prints what is left
# make lint    format, lint, types, import rules
# Each installs into .venv first, once. Only Python 3.11 or 3.12 and make are needed.

# Which torch build: empty takes the package index's own, on Linux the one with CUDA. For another build, give the index
# page that PyTorch's "get started" page names for it, for example the CPU-only one: make test TORCH_INDEX=<that page>
TORCH_INDEX ?=

PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALLED := .venv/installed
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
# A test that hangs fails after 15 minutes, by its name and with where each of its threads stands.
ENDING := -o faulthandler_timeout=900 -o faulthandler_exit_on_timeout=true --max-worker-restart 0

.PHONY: demo study test test-slow lint format clean

demo: $(INSTALLED)
	$(BIN)/python train.py experiment=demo method=scanner hydra.run.dir=outputs/demo
	$(BIN)/python infer.py ckpt=outputs/demo/checkpoints/last.ckpt \
		input=phantom-data/demo/paired/lung_100/clinical.nii.gz output=outputs/demo/lung_100_sr.nii.gz overwrite=true

study: $(INSTALLED)
	docs/study.sh

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile $(ENDING)

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed (give it as make PYTHON=...)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	$(PIP) --editable '.[dev]'
	touch $(INSTALLED)

clean:
	rm -rf .venv outputs phantom-data cache
