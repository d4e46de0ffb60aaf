/*
 * mcp_connect: the content handler.
 */

#include "ngx_mcp_connect.h"


ngx_int_t
ngx_mcp_connect_handler(ngx_http_request_t *r)
{
    return NGX_HTTP_SERVICE_UNAVAILABLE;
}
