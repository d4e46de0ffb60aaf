/*
 * Every difference between versions of nginx, and of hiredis, and nowhere else.
 */

#ifndef NGX_MCP_COMPAT_H
#define NGX_MCP_COMPAT_H


#include <ngx_config.h>
#include <ngx_core.h>

#include <hiredis/hiredis.h>


/* ngx_table_elt_t.next: linked headers of the same name, since 1.23.0 */
#if (nginx_version >= 1023000)
#define ngx_mcp_header_end(h)  (h)->next = NULL
#else
#define ngx_mcp_header_end(h)
#endif


/* what $http_cookie and $cookie_NAME are made of: an array before 1.23.0 */
#if (nginx_version >= 1023000)
#define ngx_mcp_forget_cookies(r)  (r)->headers_in.cookie = NULL
#else
#define ngx_mcp_forget_cookies(r)  (r)->headers_in.cookies.nelts = 0
#endif


/* elements of an array: int before hiredis 1.0 */
#if (HIREDIS_MAJOR >= 1)
typedef size_t  ngx_mcp_redis_elements_t;
#else
typedef int     ngx_mcp_redis_elements_t;
#endif


#endif /* NGX_MCP_COMPAT_H */
