# Makefile - the one entrance.
#
#   make demo      set up, build, start a node, run a real job from Elixir
#   make test      set up, build, run everything: Check, pytest, ExUnit, stress (SANITIZE=1: ASan and UBSan)
#   make           build priv/krait
#   make check     Check suites only          make pytest   the Python package only
#   make exunit    ExUnit suites only         make bench    the comparison of the README, six minutes;
#                  also bench-calls, bench-payloads, bench-ways, bench-scale, bench-codec; bench-compare OLD=A.json NEW=B.json
#   make stress    STRESS_SECONDS=30 of chaos against a node; the books must balance
#   make fuzz      SECONDS=60 of each fuzzer   make fuzz-replay   what they found before, under ASan
#   make budget    the instructions of a small call, against test/budget.txt
#   make valgrind  Check suites and a node under valgrind
#   make coverage  the lines that Check (95 %) and ExUnit (85 %) run
#   make lint      clang-tidy and cppcheck     make floors   prove that includes only go down
#                  (`scripts/setup.sh proof` installs what these seven need)
#   make readme    refresh the tables of README.md
#   make simulate  the pool under load by simulation: tables and plots of docs/scale.md
#   make fmt       format; make clean
#   make install   PREFIX=/usr/local DESTDIR=; make uninstall; make installcheck

ifeq ($(origin CC),default)
CC       := gcc
endif
Q        := $(if $(V),,@)
VARIANT  := $(if $(SANITIZE),asan,$(if $(COVERAGE),coverage,$(if $(findstring clang,$(CC)),clang,release)))
BUILD    := build/$(VARIANT)
BIN      := $(if $(filter release,$(VARIANT)),priv,$(BUILD))
PKGS     := libuv libcrypto libconfuse libmicrohttpd
CPPFLAGS := -Iinclude -D_GNU_SOURCE -DKRAIT_VERSION='"$(shell cat VERSION)"' \
            $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
            -Werror
CFLAGS   := -std=c11 -O2 -g -fno-omit-frame-pointer $(WARNINGS)
EI_DIR   := $(firstword $(wildcard /usr/lib/erlang/usr /usr/local/lib/erlang/usr))
CPPFLAGS += $(if $(EI_DIR),-isystem $(EI_DIR)/include)
LDLIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lmsgpackc \
            $(if $(EI_DIR),-L$(EI_DIR)/lib) -lei -lm -pthread
ifdef SANITIZE
CFLAGS   += -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined
LDFLAGS  += -fsanitize=address,undefined
endif
ifdef COVERAGE
CFLAGS   += -O0 --coverage
LDFLAGS  += --coverage
endif

# Floors 0 to 3 are pure; what is listed here moves bytes (test/floors.sh).
MOVERS   := notify peer worker forkserver cgroup guard interpreter cookie children epmd metrics node start doctor main
SOURCES  := $(wildcard c_src/*.c)
CORE     := $(filter-out $(foreach m,$(MOVERS),c_src/$(m).c c_src/$(m)_%.c),$(SOURCES))
OBJ       = $(patsubst %.c,$(BUILD)/%.o,$(1))
CHECKS   := $(patsubst test/%.c,$(BUILD)/test/%,$(wildcard test/check_*.c))
FUZZED   := $(patsubst test/fuzz/%.c,%,$(wildcard test/fuzz/fuzz_*.c))
REPLAYS  := $(FUZZED:%=$(BUILD)/replay/%)
NODE     := $(BIN)/krait

.PHONY: all demo test setup check pytest exunit stress bench bench-calls bench-payloads bench-ways \
        bench-scale bench-report bench-compare bench-flame bench-codec budget readme valgrind coverage covered \
        simulate record-service record-played record-overload record-costs \
        fuzz fuzzers fuzz-replay replay lint floors fmt clean
.SECONDARY:

STRESS   := $(BIN)/krait_stress
CTL      := $(BIN)/kraitctl

all: $(NODE) $(STRESS) $(CTL) priv/python

# The status page, as the symbols _binary_share_status_html_start and _end.
$(BUILD)/share/status.o: share/status.html
	@mkdir -p $(@D)
	@echo "  LD    $<"
	$(Q)ld -r -b binary -z noexecstack -o $@ $<

$(NODE): $(call OBJ,$(SOURCES)) $(BUILD)/share/status.o
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(LDLIBS)

$(STRESS): $(call OBJ,$(wildcard c_src/tools/*stress*.c) c_src/cookie.c) $(BUILD)/libkrait.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(LDLIBS)

$(CTL): $(call OBJ,$(wildcard c_src/tools/*ctl*.c) $(patsubst %,c_src/%.c,cookie peer peer_write epmd epmd_lookup children)) \
        $(BUILD)/libkrait.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(LDLIBS)

priv/python: $(wildcard python/krait/*.py)
	@mkdir -p $@/krait
	$(Q)cp python/krait/*.py $@/krait/
	@touch $@

$(BUILD)/%.o: %.c VERSION
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/libkrait.a: $(call OBJ,$(CORE))
	@rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/test/check_%: $(BUILD)/test/check_%.o $(call OBJ,$(wildcard test/support/*.c)) $(BUILD)/libkrait.a
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o,$^) $(filter %.a,$^) -o $@ $(LDLIBS) \
	         $(shell pkg-config --libs check)

$(BUILD)/test/check_children: $(call OBJ,c_src/children.c)
$(BUILD)/test/check_cgroup: $(call OBJ,c_src/cgroup.c)
$(BUILD)/test/check_worker_ahead: $(call OBJ,c_src/worker_ahead.c)
# kraitctl without a node and without a terminal.
$(BUILD)/test/check_ctl: $(call OBJ,$(filter-out %ctl_link.c %ctl_follow.c %ctl_top.c %ctl_screen.c,$(wildcard c_src/tools/ctl_*.c)))

# The node's rooms without its loop and without what moves bytes (test/node_given.h).
$(BUILD)/test/check_admission: $(call OBJ,$(filter-out %/node_listen.c,$(wildcard c_src/node_*.c)) c_src/children.c c_src/interpreter.c c_src/notify.c c_src/worker_ahead.c)

# Who waits and what that takes: the same, of what every call goes through each basic block counted.
COUNTED := $(notdir $(basename $(wildcard c_src/pool*.c))) heap table slab \
           $(patsubst %,node_%,admit kept monitor request ref reply lane pool peer)
$(BUILD)/test/check_waiting: $(COUNTED:%=$(BUILD)/counted/%.o) \
	$(call OBJ,$(filter-out %/node_listen.c $(COUNTED:%=c_src/%.c),$(wildcard c_src/node_*.c)) c_src/children.c c_src/interpreter.c c_src/notify.c c_src/worker_ahead.c)

$(BUILD)/counted/%.o: c_src/%.c VERSION
	@mkdir -p $(@D)
	@echo "  CC    $< (counted)"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fsanitize-coverage=trace-pc -MMD -MP -c $< -o $@

setup:
	@scripts/setup.sh test

check: $(CHECKS) $(REPLAYS)
	@for t in $(CHECKS); do CK_DEFAULT_TIMEOUT=120 $$t || exit 1; done
	@test/fuzz.sh replay $(BUILD)/replay

# The Python that has msgpack, as the node would find it.
PYTHON ?= $(firstword $(shell for p in python3 /usr/bin/python3; do \
            $$p -c 'import msgpack, pytest' 2>/dev/null && echo $$p; done) python3)

pytest: priv/python
	cd python && $(PYTHON) -X dev -W error -m pytest -q -p no:cacheprovider tests

# Mix and rebar3 from Debian, offline; make is the one that calls, so rebar3 does not call make again.
export LC_ALL     ?= C.UTF-8
export ELIXIR_ERL_OPTIONS ?= +fnu
export MIX_REBAR3 ?= $(shell command -v rebar3)
MIX := cd mix_harness && KRAIT_NO_MAKE=1 KRAIT_BIN=$(abspath $(NODE)) \
       KRAIT_BENCH_FLOOR=$(abspath $(BUILD)/bench_floor) PYTHONPATH=$(abspath python/tests) mix

exunit: all $(BUILD)/bench_floor
	$(MIX) test --warnings-as-errors

# Half a minute of callers that die, peers that vanish, workers that are killed, and operators who resize,
# reload and recycle; the books must balance. The heap comes to its size in the first minute or two (the
# buffers of 9 connections, up to 768 KiB each, and what lies between them), and stays there: in seven minutes
# 31 to 35 MB from the 100th second on. So in so short a run memory may grow by 10 MiB in the three quarters
# of it that are looked at.
STRESS_SECONDS ?= 30
STRESS_ARGS    ?= --peers 8 --callers 500 --kill 20% --giveup 10% --workers-killed 1/s \
                  --peer-drops 0.5/s --operate 1/s --net-ticktime 2 --hostile \
                  --mix call=50,checkout=15,cast=5,junk=5,stream=8,session=12,batch=5 \
                  --max-slope $$((819200 / $(STRESS_SECONDS))) $(if $(SANITIZE),--no-memory)

stress: all
	$(STRESS) --spawn --seconds $(STRESS_SECONDS) --krait $(NODE) $(STRESS_ARGS)

test: setup
	$(MAKE) --no-print-directory all check pytest exunit installcheck stress

DEMO_SOURCES := $(wildcard src/*.erl mix_harness/lib/*.ex mix_harness/lib/*/*.ex \
                          mix_harness/lib/*/*/*.ex)

# Without Mix and rebar3, so that a newcomer need not install them to see something.
build/demo/.made: $(DEMO_SOURCES)
	@rm -rf $(@D) && mkdir -p $(@D)
	$(Q)erlc -o $(@D) $(filter %.erl,$^)
	$(Q)elixirc -pa $(@D) -o $(@D) $(filter %.ex,$^) >/dev/null
	@touch $@

# The second make sees what the set-up has installed.
demo:
	@scripts/setup.sh demo
	@echo "Building ..."
	@$(MAKE) -s --no-print-directory -j$$(nproc) all build/demo/.made
	@KRAIT_BIN=$(CURDIR)/priv/krait elixir -pa build/demo mix_harness/examples/demo.exs

$(BUILD)/bench_floor: $(BUILD)/test/bench_floor.o
	@echo "  LINK  $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(LDLIBS)

$(BUILD)/bench_transcode: $(BUILD)/test/bench_transcode.o $(BUILD)/libkrait.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(LDLIBS)

$(BUILD)/budget_load: $(BUILD)/test/budget_load.o $(BUILD)/libkrait.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(LDLIBS)

$(BUILD)/budget_clock.so: test/budget_clock.c
	@echo "  LINK  $@"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -shared $< -o $@

budget: all $(BUILD)/budget_load $(BUILD)/budget_clock.so
	test/budget.sh $(NODE) $(BUILD)/budget_load $(abspath $(BUILD)/budget_clock.so)

# All of it, or a part; what it writes is read by `make readme` and by bench-compare. BENCH_ARGS: the options
# of mix_harness/bench/bench.exs, --quick perhaps. bench-report makes tables and plots anew of the numbers.
BENCH_RUN := elixir -pa build/demo mix_harness/bench/bench.exs

bench: all $(BUILD)/bench_floor build/demo/.made
	@$(BENCH_RUN) --json build/bench.json --report build $(BENCH_ARGS)

bench-calls bench-payloads bench-ways bench-scale: bench-%: all $(BUILD)/bench_floor build/demo/.made
	@mkdir -p build/bench-$*
	@$(BENCH_RUN) --parts $* --json build/bench-$*/bench.json --report build/bench-$* $(BENCH_ARGS)

bench-report: build/demo/.made
	@$(BENCH_RUN) --from build/bench.json --report build

# The conversion of terms alone, without a node.
bench-codec: $(BUILD)/bench_transcode
	@$<

# Where the node spends its time on small calls; needs perf.
bench-flame: all build/demo/.made
	@elixir -pa build/demo mix_harness/bench/flame.exs --svg build/bench-flame.svg --markdown build/bench-flame.md

bench-compare:
	@elixir mix_harness/bench/compare.exs $(OLD) $(or $(NEW),build/bench.json)

# ---- scale on paper and by simulation: docs/scale.md ----

SIMULATE := $(BUILD)/krait_simulate
SIM_OBJ  := $(call OBJ,$(wildcard c_src/tools/sim*.c))

$(SIMULATE): $(call OBJ,c_src/tools/krait_simulate.c) $(SIM_OBJ) $(BUILD)/libkrait.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(LDLIBS)

$(BUILD)/test/check_sim: $(SIM_OBJ)

# Runs the pool core against recorded service times and draws what comes out; the tables of docs/scale.md.
simulate: $(SIMULATE)
	@mkdir -p build/simulate
	$(SIMULATE) docs/data build/simulate
	elixir test/scale/report.exs docs/data build/simulate docs

# What the simulation and the cost model stand on, measured anew on this machine: service times of real workers,
# what a real node makes of the simulation's requests and of too many, what a call, a peer, a worker cost. Each in a minute or two.
RECORD := KRAIT_BIN=$(abspath $(NODE)) elixir -pa build/demo

record-service: all build/demo/.made
	$(RECORD) test/scale/record.exs docs/data/service_times.tsv

record-played: all build/demo/.made
	$(RECORD) test/scale/replay.exs build/simulate docs/data

record-overload: all build/demo/.made
	$(RECORD) test/scale/overload.exs docs/data/overload.tsv

record-costs: all build/demo/.made
	$(RECORD) test/scale/costs.exs docs/data/costs.tsv

# Refreshes the tables of README.md; with BENCH=build/bench.md the measurements too.
readme: all
	scripts/readme.sh $(BENCH)

floors:
	@sh test/floors.sh

lint:
	test/lint.sh

valgrind: $(CHECKS) all
	test/valgrind.sh checks $(CHECKS)
	test/valgrind.sh node $(NODE)

# What the Check suites run of the pure files, and what ExUnit runs of all others. Read: test/COVERAGE.md.
coverage:
	@$(MAKE) --no-print-directory COVERAGE=1 covered

covered: $(CHECKS) all
	@find $(BUILD) -name '*.gcda' -delete
	@for t in $(CHECKS); do CK_DEFAULT_TIMEOUT=300 $$t || exit 1; done
	test/coverage.sh pure $(BUILD) $(CORE)
	@$(MAKE) --no-print-directory exunit || echo "coverage: ExUnit is not green" >&2
	test/coverage.sh node $(BUILD) $(CORE)

# Coverage-guided, with clang, SECONDS=60 for each. What they find stays in test/fuzz/found; that and their
# corpora are replayed by `make check`, with any compiler, and here under the sanitizers.
FUZZ_SECONDS ?= $(if $(filter command,$(origin SECONDS)),$(SECONDS),60)
FUZZ_FLAGS   := -std=c11 -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined
FUZZERS      := $(FUZZED:%=build/fuzz/test/fuzz/%)

fuzz:
	@$(MAKE) --no-print-directory BUILD=build/fuzz CC=clang \
	         CFLAGS='$(FUZZ_FLAGS) -fsanitize=fuzzer-no-link' fuzzers
	FUZZ_SECONDS=$(FUZZ_SECONDS) test/fuzz.sh run build/fuzz/test/fuzz $(FUZZ)

fuzzers: $(FUZZERS)

build/fuzz/test/fuzz/%: build/fuzz/test/fuzz/%.o build/fuzz/libkrait.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(FUZZ_FLAGS) -fsanitize=fuzzer $^ -o $@ $(LDLIBS)

fuzz-replay:
	@$(MAKE) --no-print-directory SANITIZE=1 replay

replay: $(REPLAYS)
	@test/fuzz.sh replay $(BUILD)/replay

$(BUILD)/replay/%: $(BUILD)/test/fuzz/%.o $(BUILD)/test/fuzz/replay.o $(BUILD)/libkrait.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(LDLIBS)

fmt:
	clang-format -i c_src/*.c c_src/tools/*.[ch] include/*.h test/*.[ch] test/fuzz/*.[ch]
	cd mix_harness && mix format && mix format ../test/scale/*.exs

clean:
	rm -rf build priv/krait priv/krait_stress priv/kraitctl priv/python _build mix_harness/_build

include packaging/install.mk

-include $(shell find build -name '*.d' 2>/dev/null)
