/*
 * A tree over digests, as the cache of each worker and the zone have it: an
 * nginx rbtree whose key is the digest's first bytes, ties broken by the rest.
 * Whoever has a node puts a ngx_mcp_tree_node_t into it; nothing is allocated
 * or locked here.
 */

#ifndef NGX_MCP_TREE_H
#define NGX_MCP_TREE_H


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_MCP_DIGEST  32


typedef struct {
    ngx_rbtree_node_t    node;
    u_char               digest[NGX_MCP_DIGEST];
} ngx_mcp_tree_node_t;


/* For ngx_rbtree_init(). */
void ngx_mcp_tree_order(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel);

/* Sets the digest and inserts; the digest must not be in the tree. */
void ngx_mcp_tree_insert(ngx_rbtree_t *tree, ngx_mcp_tree_node_t *n,
    u_char *digest);

/* NULL: none. */
ngx_mcp_tree_node_t *ngx_mcp_tree_find(ngx_rbtree_t *tree, u_char *digest);


#endif /* NGX_MCP_TREE_H */
