# make demo    install into .venv, and run the main job on what comes with it
# make test    install into .venv, and run everything that CI runs
# make test-all  the same, the same as on an older processor, the slow tests, and the benchmarks
# make processors  the tests as on processors without AVX-512, and without AVX
# make check   ruff and mypy alone
# make docs    the documentation as a site, into site/; a broken link is an error
# make gpu     what runs on a GPU: tests, checks and figures of this one, in ten minutes at most
# make bench   what it costs; fails if it costs more than is promised

PYTHON ?= python3
VENV := .venv
OUT ?= gpu-acceptance
BIN := $(VENV)/bin
QUICK := -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"
# Where a home directory is shared or small, Ray may live elsewhere: RAY_TMPDIR=/scratch make demo

# Python keeps what it has compiled: without that, every process compiles torch again, for seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all processors slow check gpu bench browser docs clean

demo: $(VENV)/installed
	$(BIN)/python -m raymetrics.demo

# Two files of tests at a time; each process has a Ray of its own.
test: $(VENV)/installed .venv-swift/installed browser check
	$(BIN)/python $(QUICK)

test-all: test processors slow bench

processors: $(VENV)/installed .venv-swift/installed browser
	$(BIN)/python -m tests.helpers.processors avx2 $(QUICK)
	$(BIN)/python -m tests.helpers.processors sse4 $(QUICK)

# What starts clusters and breaks them: one after another.
slow: $(VENV)/installed .venv-swift/installed
	$(BIN)/python -m pytest -m slow

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One of its phases is pytest -m gpu. OUT=folder make gpu keeps the results elsewhere.
gpu: $(VENV)/installed
	$(BIN)/python benchmarks/gpu.py --out $(OUT)

bench: $(VENV)/installed
	$(BIN)/python benchmarks/pipeline.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/extractors.py
	$(BIN)/python benchmarks/frechet.py
	$(BIN)/python benchmarks/neighbors.py
	$(BIN)/python benchmarks/metrics.py --samples 10000 --busy
	$(BIN)/python benchmarks/memory.py --shards 50000
	$(BIN)/python benchmarks/reweight.py
	$(BIN)/python benchmarks/match.py
	$(BIN)/python benchmarks/heatmaps.py

# The site reads docstrings and the command line, so it needs what importing those needs, and no torch.
docs: .venv-docs/installed
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=. .venv-docs/bin/mkdocs build --strict

.venv-docs/installed: pyproject.toml
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))\
	['project']['optional-dependencies']['docs'], sep='\n')" > .venv-docs/requirements.txt
	.venv-docs/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
		-r .venv-docs/requirements.txt 'click>=8.1'
	touch $@

# A test looks at the report page in Chromium.
browser:
	@for name in "$$CHROMIUM" chromium chromium-browser google-chrome; do \
		if [ -n "$$name" ] && command -v "$$name" >/dev/null; then exit 0; fi; \
	done; \
	echo "installing Chromium, for the test of the report page"; \
	sudo=$$([ "$$(id -u)" = 0 ] || echo "sudo -n"); \
	$$sudo apt-get update -qq && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null || \
	{ echo "cannot install Chromium: install it, or say where it is: CHROMIUM=/path make test"; exit 1; }

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -e '.[cpu,dev]'
	touch $@

# An object store for the tests, apart: what it needs would not fit into the other environment.
.venv-swift/installed:
	$(PYTHON) -m venv .venv-swift
	.venv-swift/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
		'swift>=2.38,<2.40'
	touch $@

clean:
	rm -rf $(VENV) .venv-swift .venv-docs site demo-output gpu-acceptance build *.egg-info .mypy_cache .pytest_cache .ruff_cache
