# Builds, tests and runs ngx_mcp_auth_module; `make help` lists the targets.
#
#     make build CC=clang         any compiler; gcc is the default
#     make prove T=t/00-load.t    some test files only
#     make test SAN=1             unit and prove under ASan and UBSan
#
# Everything that is made lies under build/.

ifeq ($(origin CC),default)
CC = gcc
endif

TOP     := $(CURDIR)
BUILD   := build
CC_NAME := $(notdir $(CC))
CORE    := ngx_mcp_auth_module/core
CTL     := ngx_mcp_auth_module/mcpctl

SAN_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined \
             -fno-omit-frame-pointer

# build/unit has gcc's unit tests; other kinds lie beside it

UNIT := $(BUILD)/unit$(if $(filter-out gcc,$(CC_NAME)),-$(CC_NAME))
ifdef SAN
UNIT := $(UNIT)-san
endif

# what a program of an operator's is to have; nginx's flags bring their own

HARDEN := -fstack-protector-strong -fPIE $(if $(SAN),,-D_FORTIFY_SOURCE=2)

CORE_CFLAGS := -std=c11 -O2 -g -Wall -Wextra -Werror -Wshadow \
               $(HARDEN) $(if $(SAN),$(SAN_FLAGS)) $(EXTRA_CFLAGS)
TEST_CFLAGS := -std=gnu11 -D_GNU_SOURCE= -O1 -g -Wall -Wextra -Werror \
               -I$(CORE) \
               $(if $(SAN),$(SAN_FLAGS))
comma       := ,
TEST_LIBS   := -lcmocka -ljwt -ljansson -lssl -lcrypto

CORE_OBJS  := $(patsubst $(CORE)/%.c,$(UNIT)/core/%.o,$(wildcard $(CORE)/*.c))

# mcpctl is what CC makes; with SAN the one of the tests is another

CTL_CFLAGS := -std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Werror -Wshadow \
              -DMCPCTL_VERSION='"$(shell sed -n \
                  's/^\#define NGX_MCP_VERSION  "\(.*\)"/\1/p' \
                  ngx_mcp_auth_module/nginx/ngx_mcp_module.h)"' \
              -I$(CORE) $(HARDEN) $(if $(SAN),$(SAN_FLAGS)) $(EXTRA_CFLAGS)
CTL_LIBS   := -pie -Wl,-z,relro,-z,now -l:libhiredis.a -ljansson -lssl -lcrypto
CTL_OBJS   := $(patsubst $(CTL)/%.c,$(UNIT)/mcpctl/%.o,$(wildcard $(CTL)/*.c))
MCPCTL     := $(if $(SAN),$(UNIT)/mcpctl/mcpctl,$(BUILD)/mcpctl)

UNIT_TESTS := $(patsubst t/unit/%.c,$(UNIT)/%,$(wildcard t/unit/test_*.c))
T          := $(sort $(wildcard t/*.t))
MINT       := $(if $(wildcard t/lib/mint.c),$(BUILD)/mint)

BROWSER    := chromium libnss3-tools

MODULES_DIR := /usr/lib/nginx/modules
SBIN_DIR    := /usr/sbin
MAN_DIR     := /usr/share/man/man8
BASH_DIR    := /usr/share/bash-completion/completions

export ASAN_OPTIONS  := detect_odr_violation=0:detect_stack_use_after_return=1
export LSAN_OPTIONS  := suppressions=$(TOP)/t/lib/lsan.supp:print_suppressions=0
export UBSAN_OPTIONS := print_stacktrace=1

export MCP_TEST_MINT := $(TOP)/$(BUILD)/mint
export MCP_TEST_MCPCTL := $(TOP)/$(MCPCTL)
ifdef SAN
export MCP_TEST_SAN   := 1
export MCP_TEST_NGINX := $(TOP)/$(BUILD)/san/nginx
else ifdef VALGRIND
export MCP_TEST_SAN      := 1
export MCP_TEST_VALGRIND := 1
export MCP_TEST_NGINX    := $(TOP)/t/lib/valgrind-nginx
export MCP_VALGRIND_NGINX := $(TOP)/$(BUILD)/valgrind/nginx
else
export MCP_TEST_NGINX  ?= /usr/sbin/nginx
export MCP_TEST_MODULE ?= $(TOP)/$(BUILD)/ngx_http_mcp_auth_module.so
endif


BENCH := $(if $(SECONDS),--seconds $(SECONDS)) \
         $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only '$(ONLY)') \
         $(if $(CHECK),--check) $(if $(INSTRUCTIONS),--instructions)


.PHONY: help deps build san valgrind lint unit-build unit prove e2e pictures \
        soak test bench bench-peers test-valgrind test-valgrind-run test-on deb \
        test-deb run install clean

help:
	@echo 'make deps       install what is missing (apt-get, sudo if not root)'
	@echo 'make build      build/ngx_http_mcp_auth_module.so and build/mcpctl;'
	@echo '                CC=clang as well'
	@echo 'make test       build, lint and all tests; SAN=1: under sanitizers'
	@echo 'make lint       layer rules, banned functions, style'
	@echo 'make unit       unit tests of core/; SAN=1'
	@echo 'make prove      tests with a real nginx; T="t/a.t t/b.t"; SAN=1'
	@echo 'make e2e        official MCP clients and servers against it'
	@echo 'make pictures   docs/pictures, as Chromium shows the pages'
	@echo 'make soak       ten minutes of mixed load and faults; MINUTES=N'
	@echo 'make san        build/san/nginx: static, with sanitizers'
	@echo 'make test-valgrind   unit and prove under valgrind; T="t/a.t"'
	@echo 'make test-on    the suite on SUITE=trixie or sid, in a chroot; T="t/a.t"'
	@echo 'make bench      what a request costs; SECONDS=1 ROUNDS=9 ONLY=REGEX'
	@echo '                CHECK=1: fails over the budget; INSTRUCTIONS=1: counted'
	@echo 'make bench-peers  the same beside other gateways; SECONDS=1 ROUNDS=5'
	@echo '                GROUPS=call,list ONLY=REGEX STREAMS=5000; DOCS=1: into docs/'
	@echo 'make fuzz       libFuzzer on every parser; TIME=20 (seconds) F="json jwt"'
	@echo 'make fuzz-corpus     the committed inputs only'
	@echo 'make run        a gateway to try; CONF=nginx.conf for your own'
	@echo 'make install    into $(MODULES_DIR) and $(SBIN_DIR); DESTDIR='
	@echo 'make deb        build/deb/libnginx-mod-http-mcp-auth_*.deb'
	@echo 'make test-deb   builds it twice, lintian, installs and purges it; root'
	@echo 'make clean      remove build/'

deps:
	@build-aux/deps

# core/ is compiled twice: as part of the module, with nginx's flags, and here
# with stricter ones, as plain C11 without any nginx header at hand

build: $(CORE_OBJS) $(MCPCTL)
	@build-aux/module '$(CC)' '$(TOP)/$(BUILD)'

san:
	@build-aux/san '$(CC)' '$(TOP)/$(BUILD)'

valgrind:
	@build-aux/san '$(CC)' '$(TOP)/$(BUILD)' valgrind

lint:
	@build-aux/lint


$(UNIT)/core/%.o: $(CORE)/%.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CORE_CFLAGS) -MMD -MP -c -o $@ $<

$(UNIT)/mcpctl/%.o: $(CTL)/%.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CTL_CFLAGS) -MMD -MP -c -o $@ $<

# never over the old file: it may be running; mcpctl signs nothing, and so
# does without libjwt

$(MCPCTL): $(CTL_OBJS) $(filter-out %/mcp_assertion.o,$(CORE_OBJS))
	$(CC) $(if $(SAN),$(SAN_FLAGS)) $(EXTRA_LDFLAGS) -o $@.tmp $^ \
	    $(CTL_LIBS)
	@mv $@.tmp $@

# t/unit/test_x.c alone makes build/unit/test_x

$(UNIT)/test_%: t/unit/test_%.c $(CORE_OBJS) Makefile
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -MMD -MP -MF $@.d -o $@ $< $(CORE_OBJS) $(TEST_LIBS)

# allocations that fail

$(UNIT)/test_alloc: TEST_LIBS += $(patsubst %,-Wl$(comma)--wrap=%, \
    malloc calloc realloc free)

$(BUILD)/mint: t/lib/mint.c Makefile
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -g -Wall -Wextra -Werror -o $@ $< \
	    -ljwt -ljansson -lcrypto

include t/fuzz/fuzz.mk

-include $(wildcard $(UNIT)/core/*.d $(UNIT)/mcpctl/*.d $(UNIT)/*.d)


unit-build: $(UNIT_TESTS)

# what a run of tests needs to be there

TEST_NEEDS := $(MINT) $(MCPCTL) $(if $(SAN),san,$(if $(VALGRIND),valgrind,build))

unit: unit-build
	@perl t/lib/run-tests unit $(UNIT_TESTS)

prove: $(TEST_NEEDS)
	@perl t/lib/run-tests prove $(T)

# with a browser, which nothing else needs

e2e:
	@MCP_DEPS_EXTRA='$(BROWSER)' $(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory build $(MINT)
	@perl t/lib/run-tests e2e t/e2e/run

pictures:
	@MCP_DEPS_EXTRA='$(BROWSER) pngquant' $(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory build
	@mkdir -p docs/pictures
	@MCP_PICTURES='$(TOP)/docs/pictures' t/e2e/run connect_pictures.mjs
	@pngquant --force --ext .png --strip 64 docs/pictures/*.png

# in CI a part of `make test`, by MCP_SOAK_SECONDS

soak:
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory build $(MINT)
	@t/soak/run $(if $(MINUTES),--minutes $(MINUTES))

# one after the other, whatever -j says; MCP_FUZZ_TIME: s for each fuzz target

test:
	@MCP_DEPS_EXTRA='$(if $(SAN),,$(BROWSER))' \
	    $(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory build
	@$(MAKE) --no-print-directory unit-build $(TEST_NEEDS)
	@$(MAKE) --no-print-directory fuzz-source
	@$(MAKE) --no-print-directory -j$$(nproc) fuzz-test
	@perl t/lib/run-tests lint build-aux/lint \
	    unit $(UNIT_TESTS) prove $(T) fuzz $$(cat $(FUZZ)/targets) \
	    $(if $(SAN)$(NO_E2E),,$(if $(wildcard t/e2e/run),e2e t/e2e/run)) \
	    $(if $(SAN)$(NO_E2E),,$(if $(MCP_SOAK_SECONDS),soak t/soak/run))

# The package, for the nginx of this machine, in build/deb.  Its test installs
# and removes it in a throw-away copy of this machine, and needs root.

deb:
	@MCP_DEPS_EXTRA=debhelper $(MAKE) --no-print-directory deps
	@build-aux/deb '$(TOP)/$(BUILD)/deb'

test-deb:
	@MCP_DEPS_EXTRA='debhelper lintian' $(MAKE) --no-print-directory deps
	@perl t/lib/run-tests prove t/deb/package.t

# the same in a chroot with another release of Debian: trixie, sid

test-on:
	@MCP_DEPS_EXTRA=debootstrap $(MAKE) --no-print-directory deps
	@build-aux/test-on '$(SUITE)' '$(TOP)/$(BUILD)' \
	    '$(if $(filter command line,$(origin T)),$(T))'

# the unit tests as they are, nginx in a build without pools of many objects

test-valgrind:
	@MCP_DEPS_EXTRA=valgrind $(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory VALGRIND=1 unit-build valgrind $(MINT) \
	    $(MCPCTL)
	@$(MAKE) --no-print-directory VALGRIND=1 test-valgrind-run T='$(T)'

test-valgrind-run:
	@MCP_TEST_WITH='valgrind -q --error-exitcode=9 --leak-check=full' \
	    perl t/lib/run-tests unit $(UNIT_TESTS) prove $(T)

# wrk makes the load

bench:
	@MCP_DEPS_EXTRA='wrk $(if $(INSTRUCTIONS),valgrind)' \
	    $(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory build $(MINT)
	@t/bench/run $(BENCH)

# the other gateways; apache2-bin and haproxy are only programs to us

PEERS := wrk haproxy apache2-bin libapache2-mod-oauth2 libnginx-mod-http-js \
         libnginx-mod-http-lua lua-cjson lua-luaossl
BENCH_PEERS := $(if $(SECONDS),--seconds $(SECONDS)) \
               $(if $(ROUNDS),--rounds $(ROUNDS)) \
               $(if $(GROUPS),--groups $(GROUPS)) \
               $(if $(ONLY),--only '$(ONLY)') \
               $(if $(STREAMS),--streams $(STREAMS)) $(if $(DOCS),--docs)

bench-peers:
	@MCP_DEPS_EXTRA='$(PEERS)' $(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory build $(MINT)
	@t/bench/peers/run $(BENCH_PEERS)

run:
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory build $(MINT)
	@MODULE='$(TOP)/$(BUILD)/ngx_http_mcp_auth_module.so' CONF='$(CONF)' demo/run

install: build
	install -d '$(DESTDIR)$(MODULES_DIR)' \
	    '$(DESTDIR)/usr/share/nginx/modules-available' \
	    '$(DESTDIR)$(SBIN_DIR)' '$(DESTDIR)$(MAN_DIR)' \
	    '$(DESTDIR)$(BASH_DIR)'
	install -m 644 build/ngx_http_mcp_auth_module.so \
	    '$(DESTDIR)$(MODULES_DIR)/'
	install -m 755 build/mcpctl '$(DESTDIR)$(SBIN_DIR)/'
	install -m 644 docs/man/mcpctl.8 '$(DESTDIR)$(MAN_DIR)/'
	install -m 644 contrib/bash-completion/mcpctl '$(DESTDIR)$(BASH_DIR)/'
	echo 'load_module modules/ngx_http_mcp_auth_module.so;' > \
	    '$(DESTDIR)/usr/share/nginx/modules-available/mod-http-mcp-auth.conf'

# a chroot of test-on has no mounts when no test-on runs; should one be there,
# it goes first

clean:
	@build-aux/test-on --umount '$(TOP)/$(BUILD)'
	rm -rf --one-file-system build
