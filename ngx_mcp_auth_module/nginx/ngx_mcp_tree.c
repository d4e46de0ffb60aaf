/*
 * The tree over digests of ngx_mcp_tree.h.
 */

#include "ngx_mcp_tree.h"


static ngx_rbtree_key_t ngx_mcp_tree_key(u_char *digest);


void
ngx_mcp_tree_order(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t    **p;
    ngx_mcp_tree_node_t   *n, *other;

    n = (ngx_mcp_tree_node_t *) node;

    for ( ;; ) {

        if (node->key != temp->key) {
            p = node->key < temp->key ? &temp->left : &temp->right;

        } else {
            other = (ngx_mcp_tree_node_t *) temp;

            p = ngx_memcmp(n->digest, other->digest, NGX_MCP_DIGEST) < 0
                ? &temp->left : &temp->right;
        }

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}


void
ngx_mcp_tree_insert(ngx_rbtree_t *tree, ngx_mcp_tree_node_t *n,
    u_char *digest)
{
    ngx_memcpy(n->digest, digest, NGX_MCP_DIGEST);
    n->node.key = ngx_mcp_tree_key(digest);

    ngx_rbtree_insert(tree, &n->node);
}


ngx_mcp_tree_node_t *
ngx_mcp_tree_find(ngx_rbtree_t *tree, u_char *digest)
{
    ngx_int_t             rc;
    ngx_rbtree_key_t      key;
    ngx_rbtree_node_t    *node;
    ngx_mcp_tree_node_t  *n;

    key = ngx_mcp_tree_key(digest);
    node = tree->root;

    while (node != tree->sentinel) {

        if (key != node->key) {
            node = key < node->key ? node->left : node->right;
            continue;
        }

        n = (ngx_mcp_tree_node_t *) node;
        rc = ngx_memcmp(digest, n->digest, NGX_MCP_DIGEST);

        if (rc == 0) {
            return n;
        }

        node = rc < 0 ? node->left : node->right;
    }

    return NULL;
}


static ngx_rbtree_key_t
ngx_mcp_tree_key(u_char *digest)
{
    ngx_rbtree_key_t  key;

    ngx_memcpy(&key, digest, sizeof(ngx_rbtree_key_t));

    return key;
}
