# The fuzz targets of nginx/: t/fuzz/nginx_NAME.c, with the files of nginx/ that
# it is about, the few of nginx's core that these need, and in place of the rest
# what t/fuzz/ngx_fuzz.h has.  nginx's source is that of the sanitizer build.

FUZZ_SRC   := $(BUILD)/san/src/src
FUZZ_AUTO  := $(BUILD)/objs-gcc/ngx_auto_config.h

# nginx's own headers are not made for -Wextra

FUZZ_NGX_CFLAGS := -O1 -g -Wall $(FUZZ_SAN) -fsanitize=fuzzer-no-link \
             -fno-sanitize=alignment,nonnull-attribute -Wno-error \
             -DNGX_DEBUG_PALLOC=1 -D_GNU_SOURCE \
             $(if $(COVERAGE),-fprofile-instr-generate -fcoverage-mapping) \
             -I$(BUILD)/objs-gcc \
             $(addprefix -isystem $(FUZZ_SRC)/,core event event/modules \
                 os/unix http http/modules http/v2) \
             -I$(CORE) -Ingx_mcp_auth_module/nginx -It/fuzz

FUZZ_NGX_CORE := core/ngx_array core/ngx_palloc core/ngx_queue \
             core/ngx_rbtree core/ngx_string event/ngx_event_timer \
             os/unix/ngx_alloc
FUZZ_NGX_OURS := ngx_mcp_redis ngx_mcp_redis_link ngx_mcp_redis_sub \
             ngx_mcp_store_redis ngx_mcp_token_redis ngx_mcp_tree
FUZZ_NGX_OBJS := $(patsubst %,$(FUZZ)/ngx/%.o,$(notdir $(FUZZ_NGX_CORE)) \
                     $(FUZZ_NGX_OURS))


$(FUZZ_AUTO):
	@$(MAKE) --no-print-directory build CC=gcc

$(BUILD)/san/src.version:
	@build-aux/san source '$(TOP)/$(BUILD)'

$(FUZZ)/ngx.stamp: $(BUILD)/san/src.version | $(FUZZ_AUTO)
	@mkdir -p $(FUZZ)/ngx
	@touch $@

# the sources of nginx are there only after the stamp: by name, not by pattern

$(FUZZ)/ngx.a: $(FUZZ)/ngx.stamp t/fuzz/nginx.mk \
    $(wildcard ngx_mcp_auth_module/nginx/*.[ch])
	@rm -f $@
	@for f in $(addprefix $(FUZZ_SRC)/,$(FUZZ_NGX_CORE)) \
	    $(addprefix ngx_mcp_auth_module/nginx/,$(FUZZ_NGX_OURS)); do \
	    echo $$f; done | xargs -P $$(nproc) -I @ sh -c '$(FUZZ_CC) \
	    $(FUZZ_NGX_CFLAGS) -c -o $(FUZZ)/ngx/$$(basename @).o @.c'
	@ar rcs $@ $(FUZZ_NGX_OBJS)

$(addprefix $(FUZZ)/,$(FUZZ_NGINX)): $(FUZZ)/%: t/fuzz/nginx_%.c \
    t/fuzz/ngx_fuzz.h t/fuzz/fuzz.h $(FUZZ)/ngx.a $(FUZZ)/core.a
	@$(FUZZ_CC) $(FUZZ_NGX_CFLAGS) -fsanitize=fuzzer -o $@ $< \
	    $(FUZZ)/ngx.a $(FUZZ)/core.a -l:libhiredis.a $(FUZZ_LIBS)
