# make demo · make test · make test-all · make check · make docs · make wheel · make check-native · make check-gpu · make bench · make published: each sets itself up in .venv first.
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

RESULTS ?= build/gpu-results

.PHONY: setup demo test test-all check docs wheel check-native check-gpu bench published clean

setup: $(STAMP)

# --use-pep517: what a source package asks for to be built comes with its own dependencies (seqeval, by setuptools_scm).
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/gateflow quickstart --force

test: setup
	$(BIN)/python -m pytest -n 2

# With those that take minutes (trainings that are killed ten times, by themselves and under torchrun) and those that need
# the libraries of others.
test-all: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,integrations]'
	$(BIN)/python -m pytest -n 2 -m ""

check: setup docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/python -m pytest -n 2 --doctest-modules --doctest-glob='*.md' src README.md README.ko.md ARCHITECTURE.md docs

# The site, in docs/_build; a warning fails. Built afresh, since what an old build left can hide a missing page.
docs: setup
	rm -rf docs/_build
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build

# What others would install, tried in an environment of its own: an sdist, the wheel that is made of it, and what that asks
# for. It has the headers that kernels are built from, and the pages of reports.
wheel: setup
	rm -rf build/dist build/fresh
	mkdir -p build
	$(BIN)/python -m build --outdir build/dist . > build/dist.log 2>&1 || { cat build/dist.log; exit 1; }
	$(PYTHON) -m venv build/fresh
	build/fresh/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt build/dist/*.whl
	cd build && fresh/bin/python ../tests/installed.py && fresh/bin/gateflow --version

# The C++ of the kernels under sanitizers and at every vector width, that for GPUs in emulation; accuracy over all floats
# takes half an hour.
check-native: setup
	$(BIN)/python -m tests.backends.cpu.native.check --full

# The kernels for GPUs on the card that is there, four minutes at most. It installs nothing, so that a machine that is at
# hand for a quarter of an hour, with torch and without a network, is enough.
check-gpu:
	PYTHONPATH=src $(PYTHON) -m benchmarks.gpu $(RESULTS)

bench: $(STAMP)-bench
	$(BIN)/python -m benchmarks $(ARGS)

# Results of 1997 again: how many sequences an LSTM needs for two tasks of long memory.
published: setup
	$(BIN)/python -m benchmarks.published $(ARGS)

$(STAMP)-bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	touch $@

clean:
	rm -rf $(VENV) docs/_build
