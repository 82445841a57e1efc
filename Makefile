# Bulkhead: one Makefile, no recursion. Everything made goes to $(BUILD).
#
#   make            programs, man pages          make run      a running network
#   make check      all quick tests              make help     the rest

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

ifeq ($(V),0)
Q := @
say = @printf '  %-7s %s\n' '$(1)' '$(patsubst $(BUILD)/%,%,$@)'
endif

# --- packages ---------------------------------------------------------------
# What the build needs, what the tests need beside it; contrib/need installs
# what is missing when it may, and names it when it may not.
include contrib/packages.mk

# --- flags ------------------------------------------------------------------
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wconversion -Wsign-conversion -Wcast-qual -Wpointer-arith -Wformat=2 \
	-Wvla -Wimplicit-fallthrough -Wundef -Wwrite-strings \
	-Werror=format-security $(if $(filter 1,$(WERROR)),-Werror)
HARD := -fstack-protector-strong -fPIE $(if $(SAN),,-U_FORTIFY_SOURCE \
	-D_FORTIFY_SOURCE=2 -fstack-clash-protection -fcf-protection)
HARD_LD := -pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack -Wl,--as-needed
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -DSANITIZED)
CFLAGS ?= -O2 -g
OUR_CPPFLAGS := -D_GNU_SOURCE -I. -I$(BUILD) -DBULKHEAD_VERSION='"$(VERSION)"'
OUR_CFLAGS := -std=gnu11 $(WARN) $(HARD) -ffile-prefix-map=$(CURDIR)=. $(SANFLAGS)
COMPILE = $(CC) $(OUR_CPPFLAGS) $(CPPFLAGS) $(OUR_CFLAGS) $(CFLAGS)
LINK = $(CC) $(CFLAGS) $(SANFLAGS) $(HARD_LD) $(LDFLAGS)

# --- what is built from what -------------------------------------------------
DEF      := backends/backends.def
BACKENDS := $(shell sed -n 's/^BACKEND.\([a-z0-9_-]*\),.*/\1/p' $(DEF))
link_of   = $(shell sed -n 's/^BACKEND.$(1), "\(.*\)".*/\1/p' $(DEF))
GLIB     := $(shell $(PKG_CONFIG) --cflags glib-2.0 2>/dev/null)

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
	$(addprefix $(LIBEXEC)/bulkhead-,$(BACKENDS))

all: $(PROGRAMS) compile_commands.json

# --- the schema compiler and what it makes -----------------------------------
SCHEMAC := $(BUILD)/schemac
$(SCHEMAC): $(sort $(wildcard schema/*.c)) $(sort $(wildcard schema/*.h))
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
BASE_LD := -levent_core -lmsgpackc -lseccomp -lcap-ng

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

$(addprefix $(LIBEXEC)/bulkhead-,$(BACKENDS)): $(LIBEXEC)/bulkhead-%: \
	$(BUILD)/obj/backends/%.o $(BUILD)/obj/backends/backend_main.o $(LIB)/libbackend.a $(BASE_LIBS)
	$(call say,LD)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $^ $(BASE_LD) $(call link_of,$*)

# --- tests ----------------------------------------------------------------------
ALL_LIBS = $(LIB)/libbroker.a $(LIB)/liblane.a $(LIB)/libbackend.a $(LIB)/liblaunch.a $(BASE_LIBS)
UNIT := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/unit/*_test.c)))
$(BUILD)/tests/%_test: $(BUILD)/obj/tests/unit/%_test.o $$(wildcard $(ALL_LIBS)) $(BASE_LIBS)
	$(call say,LD)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(BASE_LD) -ljansson -lcmocka

compile_commands.json: Makefile
	$(Q)contrib/compile-commands $(CURDIR) '$(COMPILE)' > $@

clean:
	rm -rf $(BUILD) compile_commands.json

.PHONY: all clean
