# Makefile - the one entrance.
#
#   make demo      set up, build, start a node, run a real job from Elixir
#   make test      set up, build, run everything: Check, pytest, ExUnit (SANITIZE=1: ASan and UBSan)
#   make           build priv/krait
#   make check     Check suites only          make pytest   the Python package only
#   make exunit    ExUnit suites only         make bench    the comparison of the README
#   make valgrind  Check suites and a node under valgrind
#   make floors    prove that includes only go down
#   make fmt       format; make clean

ifeq ($(origin CC),default)
CC       := gcc
endif
Q        := $(if $(V),,@)
VARIANT  := $(if $(SANITIZE),asan,release)
BUILD    := build/$(VARIANT)
PKGS     := libuv libcrypto
CPPFLAGS := -Iinclude -D_GNU_SOURCE -DKRAIT_VERSION='"$(shell cat VERSION)"' \
            $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
            -Werror
CFLAGS   := -std=c11 -O2 -g -fno-omit-frame-pointer $(WARNINGS)
EI_DIR   := $(firstword $(wildcard /usr/lib/erlang/usr /usr/local/lib/erlang/usr))
CPPFLAGS += $(if $(EI_DIR),-isystem $(EI_DIR)/include)
LDLIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lmsgpackc \
            $(if $(EI_DIR),-L$(EI_DIR)/lib) -lei -pthread
ifdef SANITIZE
CFLAGS   += -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined
LDFLAGS  += -fsanitize=address,undefined
endif

# Floors 0 to 3 are pure; what is listed here moves bytes (see DESIGN in README).
MOVERS   := peer worker forkserver guard interpreter cookie children epmd node main
SOURCES  := $(wildcard c_src/*.c)
CORE     := $(filter-out $(foreach m,$(MOVERS),c_src/$(m).c c_src/$(m)_%.c),$(SOURCES))
OBJ       = $(patsubst %.c,$(BUILD)/%.o,$(1))
CHECKS   := $(patsubst test/%.c,$(BUILD)/test/%,$(wildcard test/check_*.c))
NODE     := $(if $(SANITIZE),$(BUILD)/krait,priv/krait)

.PHONY: all demo test setup check pytest exunit bench valgrind floors fmt clean

all: $(NODE) priv/python

$(NODE): $(call OBJ,$(SOURCES))
	@mkdir -p $(@D)
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
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(LDLIBS) $(shell pkg-config --libs check)

check: $(CHECKS)
	@for t in $(CHECKS); do CK_DEFAULT_TIMEOUT=120 $$t || exit 1; done

.SECONDARY:

-include $(shell find build -name '*.d' 2>/dev/null)
