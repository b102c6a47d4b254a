# make sample   install into .venv, sample 100 molecules into samples.sdf with a picture grid samples.png
# make test     install the dev extra too, then ruff, mypy and pytest
# make clean    remove .venv, the samples and all caches
#
# PYTHON=python3.12        another interpreter (3.11 or newer)
# TORCH_INDEX=https://download.pytorch.org/whl/cpu    a CPU-only build of torch (small, no CUDA libraries)

PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: sample test clean
.DELETE_ON_ERROR:

sample: $(VENV)/core.done
	$(BIN)/moldiff sample qm9 -n 100 -o samples.sdf --seed 0
	$(BIN)/moldiff view samples.sdf -o samples.png

test: $(VENV)/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q

clean:
	rm -rf $(VENV) samples.sdf samples.png build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps say which step of the installation is done, so that a second make starts at once.
$(VENV)/torch.done:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "moldiff needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	touch $@

$(VENV)/core.done: $(VENV)/torch.done pyproject.toml constraints.txt
	$(PIP) --editable .
	touch $@

$(VENV)/dev.done: $(VENV)/core.done
	$(PIP) --editable '.[dev]'
	touch $@
