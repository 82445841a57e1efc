# Bulkhead: one Makefile, no recursion. Everything made goes to $(BUILD).
#
#   make            programs and manual pages into build/
#   make run        a running network (ARGS= options of bulkheadd)
#   make check      all quick tests (ONLY= a part of them)
#   make asan       the same under address and undefined-behaviour sanitizers
#   make soak       the long tests
#   make fuzz       libFuzzer (T= which, SECONDS= how long each)
#   make bench      speed and size, as ratios (BENCH= where framegen is)
#   make check-clients  third-party QMP clients (large packages)
#   make tidy, layers, lint   rules about the source; make format  clang-format
#   make install, uninstall   DESTDIR= PREFIX=
#   make clean

BUILD   ?= build
PREFIX  ?= /usr/local
prefix  ?= $(PREFIX)
sbindir ?= $(prefix)/sbin
bindir  ?= $(prefix)/bin
libexecdir ?= $(prefix)/libexec/bulkhead
mandir  ?= $(prefix)/share/man
docdir  ?= $(prefix)/share/doc/bulkhead
sysconfdir ?= $(if $(filter /usr,$(prefix)),/etc,$(prefix)/etc)
unitdir ?= $(prefix)/lib/systemd/system
completiondir ?= $(prefix)/share/bash-completion/completions
DESTDIR ?=
INSTALL ?= install
PKG_CONFIG ?= pkg-config
CC      ?= cc
V       ?= 0
SAN     ?=
WERROR  ?= 1

VERSION := $(shell cat VERSION)
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDEXPANSION:
MAKEFLAGS += --no-builtin-rules
# Every core, unless told otherwise.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif

ifeq ($(V),0)
Q := @
say = @printf '  %-7s %s\n' '$(1)' '$(patsubst $(BUILD)/%,%,$@)'
endif

# --- packages ---------------------------------------------------------------
# What the build needs, what the tests need beside it; contrib/need installs
# what is missing when it may, and names it when it may not.
include contrib/packages.mk
NEED_BUILD := $(BUILD)/need/build
NEED_CHECK := $(BUILD)/need/check
$(NEED_BUILD): NEEDED := $(BUILD_PACKAGES)
$(NEED_CHECK): NEEDED := $(BUILD_PACKAGES) $(CHECK_PACKAGES)
$(NEED_CHECK): | $(NEED_BUILD)
$(NEED_BUILD) $(NEED_CHECK): contrib/packages.mk contrib/need
	$(Q)mkdir -p $(@D)
	$(Q)contrib/need $(NEEDED)
	$(Q)touch $@

# --- flags ------------------------------------------------------------------
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wconversion -Wsign-conversion -Wcast-qual -Wpointer-arith -Wformat=2 \
	-Wvla -Wimplicit-fallthrough -Wundef -Wwrite-strings \
	-Werror=format-security $(if $(filter 1,$(WERROR)),-Werror)
HARD := -fstack-protector-strong -fPIE $(if $(SAN),,-U_FORTIFY_SOURCE \
	-D_FORTIFY_SOURCE=2 -fstack-clash-protection -fcf-protection)
HARD_LD := -pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack -Wl,--as-needed
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all \
	-fno-omit-frame-pointer -DSANITIZED)
CFLAGS ?= -O2 -g
OUR_CPPFLAGS := -D_GNU_SOURCE -I. -I$(BUILD) -DBULKHEAD_VERSION='"$(VERSION)"'
OUR_CFLAGS := -std=gnu11 $(WARN) $(HARD) -ffile-prefix-map=$(CURDIR)=. $(SANFLAGS)
COMPILE = $(CC) $(OUR_CPPFLAGS) $(CPPFLAGS) $(OUR_CFLAGS) $(CFLAGS)
LINK = $(CC) $(CFLAGS) $(SANFLAGS) $(HARD_LD) $(LDFLAGS)

# --- what is built from what -------------------------------------------------
DEF      := backends/backends.def
BACKENDS := $(shell sed -n 's/^BACKEND.\([a-z0-9_-]*\),.*/\1/p' $(DEF))
link_of   = $(shell sed -n 's/^BACKEND.$(1), "\(.*\)".*/\1/p' $(DEF))
GLIB      = $(shell $(PKG_CONFIG) --cflags glib-2.0)

objs = $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(1)))
PROTO_O   := $(call objs,$(wildcard proto/*.c))
CONFINE_O := $(call objs,$(wildcard sandbox/confine*.c))
LAUNCH_O  := $(call objs,$(filter-out sandbox/confine% %_main.c,$(wildcard sandbox/*.c)))
LANE_O    := $(call objs,$(filter-out %_main.c,$(wildcard broker/lane*.c)))
BROKER_O  := $(call objs,$(filter-out broker/lane% %_main.c,$(wildcard broker/*.c)))
BACKEND_O := $(call objs,$(filter-out %_main.c,$(wildcard backends/backend*.c)))
GEN_C     := $(addprefix $(BUILD)/gen/,types.c control.c control_broker.c \
	control_lane.c control_backend.c commands.c backends.c schema.c)
GEN_O     := $(patsubst $(BUILD)/gen/%.c,$(BUILD)/obj/gen/%.o,$(GEN_C))
GEN_H     := $(addprefix $(BUILD)/gen/,types.h control.h commands.h backends.h schema.h)
# Dispatchers refer to handlers that only one role has: each goes to its role's library
GEN_LIB_O := $(filter-out %/commands.o %/control_%.o,$(GEN_O))
SCHEMA    := $(sort $(wildcard schema/*.json))

BIN := $(BUILD)/bin
LIBEXEC := $(BUILD)/libexec
PROGRAMS := $(BIN)/bulkheadd $(LIBEXEC)/bulkhead-broker $(LIBEXEC)/bulkhead-lane \
	$(LIBEXEC)/bulkhead-resolve $(LIBEXEC)/bulkhead-bridge-helper $(addprefix $(LIBEXEC)/bulkhead-,$(BACKENDS))

MANUALS := $(patsubst docs/%,$(BUILD)/man/%,$(sort $(wildcard docs/*.[1-8])))

all: $(PROGRAMS) $(MANUALS) $(BUILD)/compile_commands.json

# --- the schema compiler and what it makes -----------------------------------
SCHEMAC := $(BUILD)/schemac
$(SCHEMAC): $(sort $(wildcard schema/*.c)) $(sort $(wildcard schema/*.h)) \
	$(sort $(wildcard proto/*.def)) \
	| $(NEED_BUILD)
	$(call say,HOSTCC)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -O1 -g -D_GNU_SOURCE -I. -std=gnu11 $(WARN) -o $@ $(filter %.c,$^)

$(BUILD)/gen/stamp: $(SCHEMAC) $(SCHEMA) $(DEF)
	$(call say,SCHEMA)
	$(Q)mkdir -p $(@D)
	$(Q)$(SCHEMAC) --out $(@D) --backends $(DEF) $(SCHEMA)
	$(Q)touch $@
$(GEN_C) $(GEN_H): $(BUILD)/gen/stamp ;

# --- objects -----------------------------------------------------------------
$(BUILD)/obj/gen/%.o: $(BUILD)/gen/%.c $(BUILD)/gen/stamp
	$(call say,CC)
	$(Q)mkdir -p $(@D)
	$(Q)$(COMPILE) -MMD -MP -c -o $@ $<

$(BUILD)/obj/backends/user.o: OUR_CPPFLAGS += $(GLIB)
$(BUILD)/obj/%.o: %.c | $(BUILD)/gen/stamp
	$(call say,CC)
	$(Q)mkdir -p $(@D)
	$(Q)$(COMPILE) -MMD -MP -c -o $@ $<

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

# --- libraries ----------------------------------------------------------------
LIB := $(BUILD)/lib
define archive =
$(LIB)/lib$(1).a: $(2)
	$$(call say,AR)
	$$(Q)mkdir -p $$(@D) && rm -f $$@ && $$(AR) rcsD $$@ $$^
endef
$(eval $(call archive,proto,$(PROTO_O)))
$(eval $(call archive,gen,$(GEN_LIB_O)))
$(eval $(call archive,confine,$(CONFINE_O)))
$(eval $(call archive,launch,$(LAUNCH_O)))
$(eval $(call archive,lane,$(LANE_O) $(BUILD)/obj/gen/control_lane.o))
$(eval $(call archive,broker,$(BROKER_O) $(BUILD)/obj/gen/commands.o $(BUILD)/obj/gen/control_broker.o))
$(eval $(call archive,backend,$(BACKEND_O) $(BUILD)/obj/gen/control_backend.o))

BASE_LIBS := $(LIB)/libconfine.a $(LIB)/libgen.a $(LIB)/libproto.a
BASE_LD := -levent_core -lmsgpackc -lseccomp

# --- programs -------------------------------------------------------------------
$(BIN)/bulkheadd: $(BUILD)/obj/sandbox/launcher_main.o $(LIB)/liblaunch.a $(BASE_LIBS)
	$(call say,LD)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $^ -lseccomp

$(LIBEXEC)/bulkhead-broker: $(BUILD)/obj/broker/broker_main.o $(LIB)/libbroker.a $(BASE_LIBS)
	$(call say,LD)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $^ $(BASE_LD) -ljansson

$(LIBEXEC)/bulkhead-lane: $(BUILD)/obj/broker/lane_main.o $(LIB)/liblane.a $(BASE_LIBS)
	$(call say,LD)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $^ $(BASE_LD)

$(LIBEXEC)/bulkhead-resolve: $(BUILD)/obj/sandbox/resolve_main.o $(BASE_LIBS)
	$(call say,LD)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $^ -lseccomp

# It may be set-uid: nothing of ours is linked to it, and no library but libc.
HELPER_O := $(call objs,$(wildcard contrib/bridge-helper/*.c))
BRIDGE_CONF := $(sysconfdir)/bulkhead/bridge.conf
$(HELPER_O): OUR_CPPFLAGS += -DBRIDGE_CONF='"$(BRIDGE_CONF)"'
$(LIBEXEC)/bulkhead-bridge-helper: $(HELPER_O)
	$(call say,LD)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $^

$(addprefix $(LIBEXEC)/bulkhead-,$(BACKENDS)): $(LIBEXEC)/bulkhead-%: \
	$(BUILD)/obj/backends/%.o $(BUILD)/obj/backends/backend_main.o $(LIB)/libbackend.a $(BASE_LIBS)
	$(call say,LD)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $^ $(BASE_LD) $(call link_of,$*)

# --- manual pages -----------------------------------------------------------------
# A line `.\" table NAME` takes in what the schema compiler wrote under NAME.
$(BUILD)/man/%: docs/% $(BUILD)/gen/stamp docs/tables.awk VERSION
	$(call say,MAN)
	$(Q)mkdir -p $(@D)
	$(Q)awk -v dir=$(BUILD)/gen/manual -v version=$(VERSION) -v bridge_conf='$(BRIDGE_CONF)' \
		-f docs/tables.awk $< > $@

# --- tests ----------------------------------------------------------------------
ALL_LIBS := $(addprefix $(LIB)/lib,broker.a lane.a backend.a launch.a) $(BASE_LIBS)
TEST_LD := -Wl,--start-group $(ALL_LIBS) -Wl,--end-group $(BASE_LD) -ljansson -lpcap
UNIT := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/unit/*_test.c)))
HOSTILE := $(patsubst tests/hostile/%.c,$(BUILD)/tests/hostile/%,$(sort $(wildcard tests/hostile/*.c)))
REPLAY := $(patsubst tests/fuzz/%_fuzz.c,$(BUILD)/tests/%_replay,$(sort $(wildcard tests/fuzz/*_fuzz.c)))
BENCHES := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(sort $(wildcard tests/bench/*.c)))

$(UNIT): $(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(ALL_LIBS) | $(NEED_CHECK)
	$(call say,LD)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $< $(TEST_LD) -lcmocka
$(HOSTILE): $(BUILD)/tests/hostile/%: $(BUILD)/obj/tests/hostile/%.o $(ALL_LIBS) | $(NEED_CHECK)
	$(call say,LD)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $< $(TEST_LD) -lcmocka
# Each fuzzer, fed with its corpus and nothing else.
$(REPLAY): $(BUILD)/tests/%_replay: $(BUILD)/obj/tests/fuzz/%_fuzz.o $(BUILD)/obj/tests/fuzz/replay.o $(ALL_LIBS)
	$(call say,LD)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $(filter %.o,$^) $(TEST_LD)
$(BENCHES): $(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(ALL_LIBS)
	$(call say,LD)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $< $(TEST_LD)
# By name: a pattern without a recipe would say nothing.
$(call objs,$(wildcard tests/unit/*.c tests/hostile/*.c)): | $(NEED_CHECK)

# ONLY=unit, ONLY=system/test_qmp.py ... runs a part.
ONLY ?=
check test: all $(UNIT) $(HOSTILE) $(REPLAY) | $(NEED_CHECK)
	$(Q)tests/run --build $(BUILD) $(ONLY)

asan:
	+$(Q)$(MAKE) --no-print-directory BUILD=$(BUILD)/asan SAN=address,undefined CFLAGS='-O1 -g' check

# Unmodified third-party QMP clients, with the packages that they want. `check`
# runs those that it finds.
need-clients:
	$(Q)contrib/need $(CLIENT_PACKAGES)
check-clients: all need-clients | $(NEED_CHECK)
	-$(Q)tests/clients/get-qemu-qmp $(abspath $(BUILD))/clients/qemu
	$(Q)tests/run --build $(BUILD) clients

soak: all | $(NEED_CHECK)
	$(Q)tests/run --build $(BUILD) soak

# make fuzz T=wire SECONDS=60; all of them, in turn, without T.
SECONDS ?= 60
T ?= $(patsubst tests/fuzz/%_fuzz.c,%,$(sort $(wildcard tests/fuzz/*_fuzz.c)))
FUZZERS := $(patsubst %,$(BUILD)/fuzzers/%,$(T))
$(FUZZERS): $(BUILD)/fuzzers/%: $(BUILD)/obj/tests/fuzz/%_fuzz.o $(ALL_LIBS)
	$(call say,LD)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) -fsanitize=fuzzer -o $@ $< $(TEST_LD)
fuzzers: $(FUZZERS)
fuzz:
	$(Q)contrib/need $(FUZZ_PACKAGES)
	+$(Q)$(MAKE) --no-print-directory BUILD=$(BUILD)/fuzz CC=clang SAN=fuzzer-no-link,address,undefined \
		CFLAGS='-O1 -g' T='$(T)' fuzzers
	$(Q)tests/fuzz/run $(BUILD)/fuzz $(SECONDS) $(T)

# Programs to compare with: framegen and its peers, not part of this tree.
BENCH ?= ../shared/bench
bench: all $(BENCHES) | $(NEED_CHECK)
	$(Q)tests/bench/run --build $(BUILD) --peers $(BENCH)

run: all
	$(BIN)/bulkheadd $(ARGS)

# --- looking at the source ----------------------------------------------------------
OUR_C = $(sort $(wildcard proto/*.[ch] schema/*.[ch] sandbox/*.[ch] broker/*.[ch] \
	backends/*.[ch] contrib/*/*.[ch] tests/*/*.[ch]))
format:
	clang-format -i $(OUR_C)
tidy: $(BUILD)/gen/stamp
	$(Q)tests/tidy --build $(BUILD)
layers:
	$(Q)tests/layers
lint: all
	$(Q)contrib/need $(LINT_PACKAGES) || true
	$(Q)tests/lint --build $(BUILD)

$(BUILD)/compile_commands.json: Makefile contrib/compile-commands $(BUILD)/gen/stamp
	$(Q)contrib/compile-commands '$(CURDIR)' '$(subst ','\'',$(COMPILE) $(GLIB))' > $@
compile_commands.json: $(BUILD)/compile_commands.json
	$(Q)cp $< $@

# --- installing ---------------------------------------------------------------------
D = $(DESTDIR)
install: all
	$(INSTALL) -d $(D)$(sbindir) $(D)$(libexecdir) $(D)$(unitdir) $(D)$(docdir) \
		$(D)$(completiondir) $(D)$(mandir)/man5 $(D)$(mandir)/man7 $(D)$(mandir)/man8
	$(INSTALL) -m 755 $(BIN)/bulkheadd $(D)$(sbindir)/
	$(INSTALL) -m 755 $(filter $(LIBEXEC)/%,$(PROGRAMS)) $(D)$(libexecdir)/
	for m in $(MANUALS); do \
		$(INSTALL) -m 644 $$m $(D)$(mandir)/man$${m##*.}/ || exit 1; done
	sed 's|@sbindir@|$(sbindir)|' contrib/systemd/bulkhead.service > $(BUILD)/bulkhead.service
	$(INSTALL) -m 644 $(BUILD)/bulkhead.service contrib/systemd/bulkhead.socket $(D)$(unitdir)/
	$(INSTALL) -m 644 contrib/completion/bulkheadd $(D)$(completiondir)/
	$(INSTALL) -m 644 README.md SECURITY.md LICENSE CHANGELOG.md contrib/policy.example \
		$(D)$(docdir)/

uninstall:
	rm -f $(D)$(sbindir)/bulkheadd $(addprefix $(D)$(unitdir)/bulkhead.,service socket) \
		$(foreach m,$(MANUALS),$(D)$(mandir)/man$(patsubst .%,%,$(suffix $(m)))/$(notdir $(m))) \
		$(D)$(completiondir)/bulkheadd
	rm -rf $(D)$(libexecdir) $(D)$(docdir)

clean distclean:
	rm -rf $(BUILD) compile_commands.json

help:
	@sed -n 's/^#   //p' Makefile

.PHONY: all check test asan need-clients check-clients soak fuzz fuzzers bench run format tidy layers \
	lint install uninstall clean distclean help compile_commands.json
