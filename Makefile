# make            build/twin          make check       unit, data and theory tests under sanitizers
# make check-live tests on real services (root)        make bench, accuracy, corpus   the figures
# make deployments planted regressions in containers: found, blamed (root, a private Docker Engine)
# make fuzz       1,000,000 mutated inputs (CASES, SEED)
# make CC=clang   the other compiler  make top, deps   what to read again; which room includes which
CC       ?= gcc
ifeq ($(origin CC),default)
CC       := gcc
endif
PKGS     := jansson libpq libseccomp libnl-3.0 libnl-route-3.0 sqlite3 libfyaml libcurl libsodium libcrypto libssl libnghttp2 libmicrohttpd libarchive
WARN     := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
WERROR   ?= -Werror
OPT      ?= -O2
BASE     := -std=gnu11 -D_GNU_SOURCE -g -Iinclude -ffile-prefix-map=$(CURDIR)=. -fstack-protector-strong \
            -D_FORTIFY_SOURCE=2 -fPIE $(shell pkg-config --cflags $(PKGS))
LIBS     := $(shell pkg-config --libs $(PKGS)) -lcgroup -lpg_query -lwslay -lm -lpthread
SAN      ?=
ifeq ($(SAN),asan)
VARIANT  := build/asan
BASE     := $(filter-out -D_FORTIFY_SOURCE=2,$(BASE)) -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT      := -O1
LDEXTRA  := -fsanitize=address,undefined
else
VARIANT  := build/$(if $(filter clang%,$(CC)),clang,obj)
LDEXTRA  :=
endif
CFLAGS   += $(BASE) $(OPT) $(WARN) $(WERROR)
LDFLAGS  += -pie -Wl,-z,relro,-z,now $(LDEXTRA)

SRC      := $(filter-out src/lab/fault/inside/%,$(sort $(wildcard src/*/*/*.c src/*/*/*/*.c)))
MAIN     := src/app/cmd/main.c
INIT     := src/lab/sandbox/twin_init.c
OBJ      := $(patsubst %.c,$(VARIANT)/%.o,$(filter-out $(MAIN) $(INIT),$(SRC)))
MAINOBJ  := $(patsubst %.c,$(VARIANT)/%.o,$(MAIN))
TESTS    := unit theory live
CASES    ?= 1000000
SEED     ?= 1
BENCHSRC := $(wildcard tests/bench/*.c)
test_obj  = $(patsubst %.c,$(VARIANT)/%.o,$(sort $(wildcard tests/$(1)/*.c)))
ROOMTAGS  = -Isrc -Isrc/foundation -Isrc/world -Isrc/lab -Isrc/model -Isrc/app

.DEFAULT_GOAL := all
.PHONY: all check check-live fuzz bench bench-scaling kills accuracy corpus format top deps clean tests install deployments
all: build/twin

build/twin: $(VARIANT)/twin
	@mkdir -p build && ln -f $< $@ 2>/dev/null || cp -f $< $@
$(VARIANT)/twin: $(MAINOBJ) $(VARIANT)/libtwin.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
$(VARIANT)/libtwin.a: $(OBJ)
	@rm -f $@
	@ar rcs $@ $^
$(VARIANT)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(ROOMTAGS) -MMD -MP -c -o $@ $<

# The init of containers: static and without sanitizers, since it runs in any image; compiled in by .incbin
build/twin-init: $(INIT) src/lab/sandbox/init_loop.c src/lab/sandbox/init_internal.h
	@mkdir -p build
	gcc $(filter-out -fsanitize% -fno-sanitize% -fPIE,$(BASE)) -O2 $(WARN) $(WERROR) $(ROOMTAGS) -static -no-pie -s -o $@ $(filter %.c,$^)
$(VARIANT)/src/lab/sandbox/box_init.o: build/twin-init

# policies/default.yaml is compiled in by .incbin, which the compiler's -MMD does not see
$(VARIANT)/src/model/decide/builtin.o: policies/default.yaml

# what faults load into the processes of a twin: a file of its own, then part of the program
build/twin-faults.so: src/lab/fault/inside/preload.c include/tw/twin_page.h
	@mkdir -p $(@D)
	gcc -std=gnu11 -D_GNU_SOURCE -Iinclude -O2 $(WARN) $(WERROR) -Wno-missing-prototypes -fPIC -shared -s -o $@ $< -ldl
$(VARIANT)/src/lab/fault/page.o: build/twin-faults.so

define TEST_RULE
$$(VARIANT)/tests/$(1).bin: $$(call test_obj,$(1)) $$(VARIANT)/libtwin.a
	$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(LIBS) -lcriterion
endef
$(foreach t,$(TESTS),$(eval $(call TEST_RULE,$(t))))
$(VARIANT)/bench/%: $(VARIANT)/tests/bench/%.o $(VARIANT)/libtwin.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
.PRECIOUS: $(VARIANT)/tests/bench/%.o

$(VARIANT)/fuzz: $(call test_obj,fuzz) $(VARIANT)/libtwin.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

tests: $(foreach t,$(TESTS),$(VARIANT)/tests/$(t).bin)
check:
	scripts/run-tests unit theory fuzz
fuzz:
	$(MAKE) -s SAN=asan build/asan/fuzz
	build/asan/fuzz --cases $(CASES) --seed $(SEED)
check-live: all
	scripts/run-tests live
bench: all $(patsubst tests/bench/%.c,$(VARIANT)/bench/%,$(BENCHSRC))
	scripts/bench
kills: all # 300 times kill -9 of the daemon or its helper (root)
	@top=$$(mktemp -d) && tests/live/kill_daemon.py build/twin $$top 300; code=$$?; rm -rf $$top; exit $$code
# capacity of many instances, predicted from one and two, against real ones (root)
bench-scaling: all
	scripts/bench-scaling

accuracy: all $(VARIANT)/bench/accuracy
	scripts/accuracy
corpus: all
	scripts/corpus
deployments: all
	scripts/deployments
format:
	clang-format -i $$(git ls-files '*.c') # doors and internal headers are laid out by hand
top:
	@scripts/top
deps:
	@scripts/deps
clean:
	rm -rf build
-include $(OBJ:.o=.d) $(MAINOBJ:.o=.d) $(foreach t,$(TESTS) fuzz,$(patsubst %.o,%.d,$(call test_obj,$(t))))
