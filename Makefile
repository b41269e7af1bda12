# Everything a person needs: `make demo` and `make test` set up what is missing by themselves.
PYTHON ?= python3
UV := .uv/bin/uv
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help setup demo test lint lock lab clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

setup: $(READY)  ## install everything into .venv, as locked
	@$(BIN)/python -c 'from dfdc_lib.faces.mtcnn_networks import convert_networks; convert_networks()'
	@$(BIN)/dfdc doctor

demo: $(READY)  ## everything on the built-in sample, from videos to averaged scores; ends with the path of the report
	@$(BIN)/dfdc run

test: $(READY)  ## run all tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(READY)  ## check style, types, the direction of imports, and that notebooks have no outputs
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/nbstripout --verify --keep-id notebooks/*.ipynb

lab: $(READY)  ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab --notebook-dir=. notebooks

lock: $(UV)  ## write requirements.lock from pyproject.toml
	@$(UV) pip compile -q pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements.lock

clean:  ## remove what setup installed (outputs/ stays)
	rm -rf .venv .uv

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@$(PYTHON) -m venv .uv || { echo "This Python has no venv module: install it (Debian: apt-get install python3-venv) and try again"; exit 1; }
	@.uv/bin/python -m pip install -q --disable-pip-version-check uv

# Compiled once here: where PYTHONDONTWRITEBYTECODE is set, every process would compile what it imports, in twice the time.
# Where a system has no libGL, opencv-python cannot be imported: then the headless build of the same version goes over it.
$(READY): $(UV) requirements.lock pyproject.toml
	@$(UV) venv -q --clear --python $(PYTHON) .venv
	@$(UV) pip sync -q --require-hashes --compile-bytecode requirements.lock
	@$(UV) pip install -q --no-deps -e .
	@$(BIN)/python -c 'import cv2' 2>/dev/null || { \
	  echo "OpenCV misses system libraries (libgl1, libglib2.0-0): its headless build is taken instead"; \
	  $(UV) pip install -q --no-deps --compile-bytecode opencv-python-headless==$$($(UV) pip show -q opencv-python 2>/dev/null | sed -n 's/^Version: //p'); }
	@touch $@
