# bptt's build. `make` builds, `make demo` shows, `make test` proves; `make help` lists the rest.
# Settings come first, then the lists of files, then the rules, in the order in which things are built.

# ---- Settings: each may be given on the command line; changing one rebuilds what it touches, no `clean` needed ----

CC      ?= cc
CFLAGS  ?= -O2 -g
PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   ?= build
V       ?= 0#          1: show every command
VARIANT ?=#            empty, or asan (address and undefined behaviour sanitizers), or tsan (thread sanitizer)

WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
WARNINGS += -Wno-unused-parameter#   functions that sit in a table share a signature
# Not: -Wconversion (index arithmetic would drown in casts), -Werror (a newer compiler must not break the build).

LIBS = -ljansson -lm -lpthread -ldl

MAKEFLAGS += --no-print-directory
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc 2> /dev/null || echo 2)
endif

# ---- Flags ----

Q   = $(if $(filter 1,$(V)),,@)
SAY = @$(if $(filter 1,$(V)),:,echo)

OPTIMISE.      = $(CFLAGS)
OPTIMISE.asan  = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
OPTIMISE.tsan  = -O1 -g -fsanitize=thread
OPTIMISE       = $(OPTIMISE.$(VARIANT))

# -ffp-contract=off: the same sums with every compiler. Kernels say otherwise, below.
STANDARD = -std=gnu17 -fPIC -ffp-contract=off $(WARNINGS)
COMPILE  = $(CC) $(STANDARD) $(OPTIMISE) $(CPPFLAGS) -MMD -MP
LINK     = $(CC) $(OPTIMISE) $(LDFLAGS)

# Kernels and generated cells are compiled once per instruction set and precision (16: bfloat16); the program chooses when it
# starts. (KERNELS is also known to tools/cellgen.c, which lists the code of each cell.)
KERNEL         = $(if $(VARIANT),,-O3) -ffp-contract=fast -fno-math-errno -fno-trapping-math -Isrc -Iinclude
KERNEL.generic = -DKERNEL_ISA=generic
KERNEL.avx2    = -DKERNEL_ISA=avx2 -mavx2 -mfma
KERNEL.avx512  = -DKERNEL_ISA=avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma
# Products with the machine's own bfloat16 instruction: kernels alone, no cells.
KERNEL.avx512bf16 = -DKERNEL_ISA=avx512bf16 -DWIDE_ISA=avx512 $(filter -m%,$(KERNEL.avx512)) -mavx512bf16

MACHINE := $(shell $(CC) -dumpmachine 2> /dev/null)
KERNELS  = generic.16 generic.32 generic.64
ifneq ($(filter x86_64%,$(MACHINE)),)
KERNELS += avx2.16 avx2.32 avx512.16 avx512.32
ifneq ($(shell $(CC) -mavx512bf16 -E -x c /dev/null 2> /dev/null | head -c 1),)
PRODUCTS = avx512bf16.16
STANDARD += -DHAVE_AVX512BF16
endif
endif

# ---- Files ----

B   = $(BUILD)$(if $(VARIANT),/$(VARIANT))#   where this variant goes
GEN = $(BUILD)/gen#                           C generated from cells/, the same for all variants

CELLS     = $(wildcard cells/*.cell)
GENERATED = $(if $(wildcard tools/cellgen.c),$(CELLS:cells/%.cell=$(GEN)/cell_%.c))
ISA_NAMES = $(patsubst src/kernel/isa/%.c,%,$(wildcard src/kernel/isa/*.c))
WIDE_ONLY = gemm losses optimisers peak#   bfloat16 has products of its own, and takes the rest from single precision
names_of  = $(filter-out $(if $(filter %.16,$1),$(WIDE_ONLY),narrow),$(ISA_NAMES))

LIB_SOURCES = $(wildcard src/*/*.c)
LIB_OBJECTS = $(LIB_SOURCES:src/%.c=$(B)/obj/%.o) $(if $(GENERATED),$(B)/obj/builtin.o) \
              $(foreach kernel,$(KERNELS) $(PRODUCTS),$(patsubst %,$(B)/obj/%.$(kernel).o,$(call names_of,$(kernel)))) \
              $(foreach kernel,$(KERNELS),$(GENERATED:$(GEN)/%.c=$(B)/obj/%.$(kernel).o))
CLI_OBJECTS = $(patsubst %.c,$(B)/obj/%.o,$(wildcard cli/*.c))
TESTS       = $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/test_*.c))
BENCHES     = $(patsubst bench/%.c,$(B)/bench/%,bench/bench.c $(wildcard bench/bench_*.c))
CONTEST     = $(addprefix bench/,machine.c contest.c ours.c onednn.c torch.c naive.c)#   linked with bench/bench.c
PROGRAM     = $(if $(wildcard cli/main.c),$(B)/bptt)

# ---- What to ask for ----

.PHONY: all demo test bench install deps clean help tests FORCE
.SECONDARY:
.DELETE_ON_ERROR:

all: $(PROGRAM) $(B)/libbptt.a $(B)/libbptt.so

help:
	@echo 'make           build $(BUILD)/bptt, $(BUILD)/libbptt.a and $(BUILD)/libbptt.so'
	@echo 'make demo      train a small model on the sources of bptt, sampling as it learns (two minutes)'
	@echo 'make test      build with and without sanitizers and run every test; T=PATTERN: only those'
	@echo 'make bench     speed of the kernels and of training on this machine'
	@echo 'make install   program, library, header and pkg-config file under PREFIX ($(PREFIX)); DESTDIR for packagers'
	@echo 'make deps      install what is missing to build and test (Debian; elsewhere: say what is)'
	@echo 'make clean     remove $(BUILD)/'
	@echo 'Settings: CC CFLAGS CPPFLAGS LDFLAGS PREFIX DESTDIR BUILD VARIANT=asan|tsan'

demo: all
	@BPTT=$(abspath $(B))/bptt tools/demo

# The variants are built one after the other, so that they do not compete for memory; each is parallel inside.
test:
	@CC='$(CC)' tools/deps test
	@$(MAKE) VARIANT= all tests
	@$(MAKE) VARIANT=asan all tests
	@$(MAKE) VARIANT=tsan all tests
	@$(MAKE) VARIANT= DESTDIR= PREFIX='$(abspath $(BUILD))/installed' install > /dev/null
	@CC='$(CC)' BUILD='$(abspath $(BUILD))' tests/run $(T)

tests: $(TESTS) $(B)/tests/isas

bench: all $(BENCHES)
	@$(B)/bench/bench --csv bench/results.csv
	@set -e; for bench in $(filter-out %/bench,$(BENCHES)); do echo "== $$bench"; $$bench; done
	@set -e; for bench in $(wildcard bench/*.sh); do echo "== $$bench"; BPTT=$(abspath $(B))/bptt sh $$bench; done

deps:
	@rm -f $(BUILD)/deps
	@CC='$(CC)' tools/deps test

clean:
	rm -rf $(BUILD)

# ---- Before anything is compiled: what it needs is here; and how it was compiled last ----

$(BUILD)/deps: tools/deps
	@mkdir -p $(@D)
	@CC='$(CC)' CPPFLAGS='$(CPPFLAGS)' LDFLAGS='$(LDFLAGS)' tools/deps build
	@touch $@

# Every object depends on $(B)/flags, which changes when a command line would.
SETTINGS = $(COMPILE) | $(LINK) | $(KERNEL) | $(foreach k,generic avx2 avx512 avx512bf16,$(KERNEL.$k))
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(SETTINGS)' | cmp -s - $@ || echo '$(SETTINGS)' > $@
FORCE:

# ---- The cells: a program of the cell compiler alone writes C from cells/*.cell ----

HOST_OBJECTS = $(patsubst src/%.c,$(BUILD)/obj/%.o,$(filter src/base/% src/cell/%,$(LIB_SOURCES)))

ifeq ($(VARIANT),)
$(BUILD)/cellgen: tools/cellgen.c $(HOST_OBJECTS)
	$(SAY) "  CC    $@"
	$(Q)$(COMPILE) -MF $@.d -Isrc -Iinclude -o $@ $< $(HOST_OBJECTS) $(LDFLAGS) $(LIBS)

# Only what changed is written again, so a change to the cell compiler rebuilds only the cells that it touches.
$(GEN)/stamp: $(BUILD)/cellgen $(CELLS) src/base/stage.h src/kernel/vmath.h
	@rm -rf $(GEN).new && mkdir -p $(GEN) $(GEN).new
	$(SAY) "  CELLS $(GEN)"
	$(Q)$(BUILD)/cellgen $(GEN).new $(CELLS)
	@cd $(GEN).new && for f in *; do cmp -s $$f ../gen/$$f || mv $$f ../gen/$$f; done
	@rm -rf $(GEN).new
	@touch $@
else
# Another variant takes the same files: the plain build makes them.
$(GEN)/stamp: FORCE
	@$(MAKE) VARIANT= $@
endif
$(GENERATED) $(GEN)/builtin.c: $(GEN)/stamp
	@:

# ---- Objects ----

$(B)/obj/%.o: src/%.c $(B)/flags | $(BUILD)/deps
	@mkdir -p $(@D)
	$(SAY) "  CC    $@"
	$(Q)$(COMPILE) -c -o $@ $<

$(B)/obj/cli/%.o: cli/%.c $(B)/flags | $(BUILD)/deps
	@mkdir -p $(@D)
	$(SAY) "  CC    $@"
	$(Q)$(COMPILE) -Iinclude -c -o $@ $<

$(B)/obj/builtin.o: $(GEN)/builtin.c $(B)/flags
	@mkdir -p $(@D)
	$(SAY) "  CC    $@"
	$(Q)$(COMPILE) -Isrc -Iinclude -c -o $@ $<

# NAME.ISA.BITS.o comes from src/kernel/isa/NAME.c or from the generated NAME.c.
kernel_flags = $(KERNEL) $(KERNEL.$(word 2,$(subst ., ,$(@F)))) -DKERNEL_BITS=$(word 3,$(subst ., ,$(@F)))
define kernel_rules
$(B)/obj/%.$1.o: src/kernel/isa/%.c $(B)/flags | $(BUILD)/deps
	@mkdir -p $$(@D)
	$$(SAY) "  CC    $$@"
	$$(Q)$$(COMPILE) $$(kernel_flags) -c -o $$@ $$<
$(B)/obj/%.$1.o: $(GEN)/%.c $(B)/flags | $(BUILD)/deps
	@mkdir -p $$(@D)
	$$(SAY) "  CC    $$@"
	$$(Q)$$(COMPILE) $$(kernel_flags) -c -o $$@ $$<
endef
$(foreach kernel,$(KERNELS) $(PRODUCTS),$(eval $(call kernel_rules,$(kernel))))

# ---- Library, program, tests, benchmarks ----

$(B)/libbptt.a: $(LIB_OBJECTS)
	@rm -f $@
	$(SAY) "  AR    $@"
	$(Q)$(AR) rcs $@ $(LIB_OBJECTS)

$(B)/libbptt.so: $(LIB_OBJECTS) tools/libbptt.map
	$(SAY) "  LINK  $@"
	$(Q)$(LINK) -shared -Wl,-soname,libbptt.so.0 -Wl,--version-script=tools/libbptt.map -o $@ $(LIB_OBJECTS) $(LIBS)

$(B)/bptt: $(CLI_OBJECTS) $(B)/libbptt.a
	$(SAY) "  LINK  $@"
	$(Q)$(LINK) -o $@ $(CLI_OBJECTS) $(B)/libbptt.a $(LIBS)

# A test's or a benchmark's first lines may hold "// link: FLAGS".
$(B)/tests/%: tests/%.c $(B)/obj/tests/tap.o $(B)/libbptt.a
	@mkdir -p $(@D)
	$(SAY) "  CC    $@"
	$(Q)$(COMPILE) -MF $@.d -Iinclude -o $@ $< $$(sed -n '1,9s,^// link: *,,p' $<) \
		$(B)/obj/tests/tap.o $(B)/libbptt.a $(LDFLAGS) $(LIBS)

$(B)/obj/tests/tap.o: tests/tap.c $(B)/flags
	@mkdir -p $(@D)
	$(SAY) "  CC    $@"
	$(Q)$(COMPILE) -c -o $@ $<

$(B)/bench/%: bench/%.c $(B)/libbptt.a
	@mkdir -p $(@D)
	$(SAY) "  CC    $@"
	$(Q)$(COMPILE) -MF $@.d -Iinclude -o $@ $< $$(sed -n '1,9s,^// link: *,,p' $<) \
		$(B)/libbptt.a $(LDFLAGS) $(LIBS)

# oneDNN is a peer where its version 2 is here (version 3 has another interface).
ONEDNN = $(shell echo 'int main(void) { return !dnnl_lstm_forward_desc_init; }' | \
           $(CC) -include oneapi/dnnl/dnnl.h -x c - -o /dev/null -ldnnl 2> /dev/null && echo -DHAVE_ONEDNN -ldnnl)
$(B)/bench/bench: bench/bench.c $(CONTEST) $(wildcard bench/*.h) $(B)/libbptt.a
	@mkdir -p $(@D)
	$(SAY) "  CC    $@"
	$(Q)$(CC) $(STANDARD) $(OPTIMISE) $(CPPFLAGS) -Iinclude -o $@ $< $(CONTEST) $(B)/libbptt.a $(LDFLAGS) $(ONEDNN) $(LIBS)

# ---- Installing ----

VERSION = $(shell sed -n 's/^.define BPTT_VERSION "\(.*\)"/\1/p' include/bptt.h)
TO      = $(DESTDIR)$(PREFIX)

# The installed archive is one object in which only bptt_... can be seen, so no name of ours meets one of the user's.
$(B)/install/libbptt.a: $(LIB_OBJECTS)
	@mkdir -p $(@D) && rm -f $@
	@$(CC) -r -nostdlib -o $(@D)/libbptt.o $(LIB_OBJECTS)
	@objcopy --wildcard --keep-global-symbol='bptt_*' $(@D)/libbptt.o
	@$(AR) rcs $@ $(@D)/libbptt.o

install: all $(B)/install/libbptt.a
	install -d $(TO)/bin $(TO)/include $(TO)/lib/pkgconfig
	install -m 755 $(PROGRAM) $(TO)/bin/bptt
	install -m 644 include/bptt.h $(TO)/include/bptt.h
	install -m 644 $(B)/install/libbptt.a $(TO)/lib/libbptt.a
	install -m 755 $(B)/libbptt.so $(TO)/lib/libbptt.so.0
	ln -sf libbptt.so.0 $(TO)/lib/libbptt.so
	sed -e 's,@PREFIX@,$(PREFIX),' -e 's,@VERSION@,$(VERSION),' tools/bptt.pc.in > $(TO)/lib/pkgconfig/bptt.pc

# ---- Headers that each object saw (written by -MMD) ----

-include $(LIB_OBJECTS:.o=.d) $(CLI_OBJECTS:.o=.d) $(B)/obj/tests/tap.d $(TESTS:=.d) $(BENCHES:=.d)
-include $(BUILD)/cellgen.d $(B)/tests/isas.d
