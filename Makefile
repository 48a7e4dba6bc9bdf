# make demo    inference-time scaling on the embedded models, drawn as curves
# make figure  ten strategies, three seeds each, against tokens and FLOPs: about half an hour on two cores
# make test    lint, types and the default tests
# make slow    the slow lane: large models, long statistics
#
# Each creates .venv and installs into it once. Needs make and Python >= 3.11.

SHELL = /bin/sh
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
VENV = .venv
BIN = $(VENV)/bin
READY = $(VENV)/.installed
PIP = $(BIN)/python -m pip --disable-pip-version-check
TORCH_CPU_INDEX = https://download.pytorch.org/whl/cpu

.PHONY: demo figure test slow lint wheel clean

demo: $(READY)
	$(BIN)/ponder -m experiment=demo
	$(BIN)/ponder-curves runs/demo

figure: $(READY)
	$(BIN)/ponder -m experiment=scaling
	$(BIN)/ponder-curves runs/scaling x=new_tokens,flops reach=0.8 fits=yes

# Two processes: tests/conftest.py keeps all tests of vLLM in one of them, so that each engine starts once.
test: lint
	$(BIN)/python -m pytest -n 2

slow: $(READY)
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel: $(READY)
	rm -rf build
	$(BIN)/python -m build --no-isolation --wheel --outdir dist .

clean:
	rm -rf $(VENV) build dist ponder.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The GPU build where an NVIDIA card is visible; elsewhere the tested CPU environment, exactly.
# A torch that needs CUDA libraries would not load there, so its CPU build is installed first:
# from the configured index where that has it (it has a "+cpu" version), else from PyTorch's own.
$(READY): pyproject.toml requirements/cpu.txt requirements/puzzles.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "ponder needs Python 3.11 or newer; '$(PYTHON)' is older or missing." >&2; \
	  echo "Name one: make test PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Installing into $(VENV): a few minutes, once."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then \
	  $(PIP) install --quiet -e '.[vllm,dev,puzzles]'; \
	else \
	  torch=$$(grep '^torch==' requirements/cpu.txt) && \
	  { $(PIP) install --quiet --no-deps "$$torch+cpu" 2>/dev/null || \
	    $(PIP) install --quiet --no-deps --index-url $(TORCH_CPU_INDEX) "$$torch"; } && \
	  $(PIP) install --quiet --no-deps -r requirements/cpu.txt && \
	  { $(PIP) install --quiet --no-deps --no-build-isolation -r requirements/puzzles.txt || \
	    echo "reasoning-gym is left out: see requirements/puzzles.txt" >&2; } && \
	  $(PIP) install --quiet --no-deps --no-build-isolation -e .; \
	fi
	@touch $@
