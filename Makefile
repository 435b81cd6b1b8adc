# make demo   trains a character language model on real text
# make test   runs every test
# make reproduce   trains to the figures of RESULTS.md, row by row (hours)
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test test-long reproduce lint format zoo help
help:
	@sed -n 's/^# //p' Makefile

# set up once; again only when what is to be installed has changed
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "rnnzoo needs Python 3.11 to 3.13, not " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' --constraint constraints.txt
	touch $@

demo: $(READY)
	$(BIN)/rnnzoo fit --config configs/char_lm.yaml

test: $(READY)
	$(BIN)/python -m pytest -m "not slow" --numprocesses auto --dist loadgroup

test-long: $(READY)
	$(BIN)/python -m pytest --numprocesses auto --dist loadgroup

reproduce: $(READY)
	$(BIN)/python benchmarks/reproduce.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# the table of every cell, with the speeds that benchmarks/cpu.sh measured
zoo: $(READY)
	{ sed '/^| cell/,$$d' ZOO.md; $(BIN)/rnnzoo cells --markdown --speeds benchmarks/results/amd-epyc/zoo.json; } > ZOO.md.new
	mv ZOO.md.new ZOO.md
