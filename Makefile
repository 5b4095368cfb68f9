# One command each, from a fresh clone: make demo, make test. Both set up .venv by themselves.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
export HF_HUB_DISABLE_TELEMETRY = 1
export TOKENIZERS_PARALLELISM = false

.PHONY: setup demo check test test-slow bench test-gpu build format clean help

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
	$(BIN)/pip install --quiet -c constraints.txt -e '.[extract,finetune,dev]'
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
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2

test-slow: $(STAMP)  ## the tests marked slow
	HF_HUB_OFFLINE=1 $(BIN)/pytest -q -m slow

test-gpu: $(STAMP)  ## the tests that need a CUDA device
	$(BIN)/pytest -q -m gpu

bench: $(STAMP)  ## speed, as ratios against a peer in one run
	HF_HUB_OFFLINE=1 $(BIN)/python tests/bench.py

build: $(STAMP)  ## sdist and wheel in dist/
	$(BIN)/python -m build --installer pip

format: $(STAMP)  ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove what was made, not what was extracted or trained
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
