# The fuzz targets: libFuzzer, and so clang, with ASan and UBSan.  Included by
# the Makefile; t/fuzz/run runs them.
#
#     make fuzz TIME=20           every target for 20 s, side by side
#     make fuzz TIME=20 F=json    one of them; F="json jwt"
#     make fuzz-corpus            the committed inputs only
#     make fuzz-merge F=json      what was found anew goes into the corpus
#     make fuzz-coverage          lines of core/ that the corpora reach
#
# build/fuzz/NAME is t/fuzz/fuzz_NAME.c; those of nginx/ are in nginx.mk.

FUZZ      := $(BUILD)/fuzz
FUZZ_CC   := clang
FUZZ_SAN  := -fsanitize=address,undefined -fno-sanitize-recover=undefined \
             -fno-omit-frame-pointer
FUZZ_CFLAGS := -std=c11 -O1 -g -Wall -Wextra -Werror $(FUZZ_SAN) \
             -fsanitize=fuzzer-no-link
FUZZ_LIBS := -ljwt -ljansson -lssl -lcrypto -lm

ifdef COVERAGE
FUZZ      := $(BUILD)/fuzz-coverage
FUZZ_CFLAGS += -fprofile-instr-generate -fcoverage-mapping
FUZZ_LIBS += -fprofile-instr-generate
endif

FUZZ_CORE := $(patsubst t/fuzz/fuzz_%.c,%,$(wildcard t/fuzz/fuzz_*.c))
FUZZ_NGINX := $(if $(wildcard $(BUILD)/san/src.version),\
    $(patsubst t/fuzz/nginx_%.c,%,$(wildcard t/fuzz/nginx_*.c)))
F         ?= $(FUZZ_CORE) $(FUZZ_NGINX)
FUZZ_OBJS := $(patsubst $(CORE)/%.c,$(FUZZ)/core/%.o,$(wildcard $(CORE)/*.c))
TIME      ?= 20

.PHONY: fuzz fuzz-run fuzz-build fuzz-source fuzz-test fuzz-corpus \
        fuzz-corpus-run fuzz-merge fuzz-merge-run fuzz-coverage \
        fuzz-coverage-run

$(FUZZ)/core/%.o: $(CORE)/%.c Makefile t/fuzz/fuzz.mk
	@mkdir -p $(@D)
	@$(FUZZ_CC) $(FUZZ_CFLAGS) -MMD -MP -c -o $@ $<

$(FUZZ)/core.a: $(FUZZ_OBJS)
	@rm -f $@
	@ar rcs $@ $^

include t/fuzz/nginx.mk

$(FUZZ)/%: t/fuzz/fuzz_%.c $(FUZZ)/core.a t/fuzz/fuzz.mk
	@$(FUZZ_CC) -D_GNU_SOURCE $(FUZZ_CFLAGS) -std=gnu11 -I$(CORE) -MMD -MP \
	    -fsanitize=fuzzer -o $@ $< $(FUZZ)/core.a $(FUZZ_LIBS)

-include $(wildcard $(FUZZ)/*.d $(FUZZ)/core/*.d)

fuzz-build: $(addprefix $(FUZZ)/,$(F))

# those of nginx/ want nginx's source; where it is not to be had they are left
# out

fuzz-source:
	@build-aux/deps
	@build-aux/san source '$(TOP)/$(BUILD)' || \
	    echo 'fuzz: no source of nginx: its targets are left out'

fuzz fuzz-corpus fuzz-merge: fuzz-source
	@$(MAKE) --no-print-directory $@-run

fuzz-run: fuzz-build
	@t/fuzz/run --build $(FUZZ) --time $(TIME) $(F)

fuzz-corpus-run: fuzz-build
	@t/fuzz/run --build $(FUZZ) --time 0 $(F)

fuzz-merge-run: fuzz-build
	@t/fuzz/run --build $(FUZZ) --merge $(F)

# for `make test`, which prints and counts the result

fuzz-test: fuzz-build
	@echo '$(F)' > $(FUZZ)/targets

# what of core/ the committed inputs reach

fuzz-coverage: fuzz-source
	@$(MAKE) --no-print-directory COVERAGE=1 fuzz-coverage-run

fuzz-coverage-run: fuzz-build
	@rm -rf $(FUZZ)/profile && mkdir -p $(FUZZ)/profile
	@LLVM_PROFILE_FILE='$(TOP)/$(FUZZ)/profile/%p' \
	    t/fuzz/run --build $(FUZZ) --time 0 $(F)
	@llvm-profdata merge -o $(FUZZ)/profile/all $(FUZZ)/profile/*
	@llvm-cov report $(FUZZ)/$(firstword $(F)) \
	    $(addprefix -object $(FUZZ)/,$(wordlist 2,99,$(F))) \
	    -instr-profile $(FUZZ)/profile/all ngx_mcp_auth_module
