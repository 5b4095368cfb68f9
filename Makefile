# One command each, from a fresh clone: make demo, make test. Both set up .venv by themselves.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
export HF_HUB_DISABLE_TELEMETRY = 1
export TOKENIZERS_PARALLELISM = false

.PHONY: setup demo check test test-slow test-gpu test-py-feat sensors words bench build format clean help

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

setup: $(STAMP)  ## create .venv with everything pinned in constraints.txt

# torch by itself first, so that its build can be chosen, e.g. a CPU build by
# make setup TORCH='torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu'
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: give another with make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[extract,finetune,serve,ray,cam,elan,dev]'
	@touch $(STAMP)

TORCH ?= $(shell grep -E '^torch==' constraints.txt)

demo: $(STAMP)  ## videos to words to emotions, text against features; ends with the path of a report
	HF_HUB_OFFLINE=1 $(BIN)/textualize demo

check: $(STAMP)  ## ruff, format, mypy --strict, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell textualize prompts finetune eval tests README.md CONTRIBUTING.md --skip '*.gz,*.mp4,*.safetensors,*.jsonl'

test: $(STAMP)  ## the tests, offline, under five minutes
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal -p no:schemathesis

test-slow: $(STAMP)  ## the tests marked slow
	HF_HUB_OFFLINE=1 $(BIN)/pytest -q -m slow

test-gpu: $(STAMP)  ## the tests that need a CUDA device
	$(BIN)/pytest -q -m gpu

PF := .venv-py-feat
PF_BIN := $(PF)/bin
PF_STAMP := $(PF)/.ready

# py-feat and torchvision without their requirements, which would bring another torch
$(PF_STAMP): tests/py_feat_shim.py constraints.txt
	$(PYTHON) -m venv $(PF)
	$(PF_BIN)/pip install --quiet $(TORCH)
	$(PF_BIN)/pip install --quiet --no-deps py-feat==2.1.5 torchvision==0.28.0 torchcodec==0.13.0
	$(PF_BIN)/pip install --quiet -c constraints.txt numpy pandas seaborn numexpr scipy scikit-learn \
		h5py Pillow timm scikit-image joblib easing_functions celluloid tqdm xgboost huggingface_hub \
		safetensors skops plotly av filelock jinja2 pydantic pyyaml rich typer hypothesis pytest pytest-timeout
	$(PF_BIN)/pip install --quiet --no-deps -e .
	cp tests/py_feat_shim.py "$$($(PF_BIN)/python -c 'import site; print(site.getsitepackages()[0])')/sitecustomize.py"
	@touch $(PF_STAMP)

test-py-feat: $(PF_STAMP)  ## the py-feat sensor on py-feat itself, random weights, in .venv-py-feat
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(PF_BIN)/pytest -q tests/extract/face/test_py_feat.py

sensors: $(STAMP)  ## what the sensors are worth: the tables of eval/RESULTS.md, from TEXTUALIZE_ASSETS
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python tests/measure_sensors.py --write eval/RESULTS.md

words: $(STAMP)  ## what survives the words: tables of eval/RESULTS.md, from corpora/ravdess and runs/ravdess
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python tests/measure_words.py --runs runs/ravdess --write eval/RESULTS.md

bench: $(STAMP)  ## speed, as ratios against a peer in one run
	HF_HUB_OFFLINE=1 $(BIN)/python tests/bench.py

build: $(STAMP)  ## sdist and wheel in dist/
	$(BIN)/python -m build --installer pip

format: $(STAMP)  ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove what was made, not what was extracted or trained
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
