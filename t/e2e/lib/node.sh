# Sourced by t/e2e/run and demo/run: a node that is new enough, and the
# packages of package-lock.json.  Sets NODE.

# Debian 12 has node 18 and the official MCP packages ask for 20: where the
# system's is older, the one that the package "node" carries is used.
node_ready() {
    local dir=$1 major

    NODE=$(command -v node || true)
    if [ -z "$NODE" ] || ! command -v npm >/dev/null; then
        echo "node and npm are missing: run make deps" >&2
        return 1
    fi

    if [ ! "$dir/node_modules/.package-lock.json" -nt \
           "$dir/package-lock.json" ]
    then
        echo "installing the node packages of t/e2e"
        (cd "$dir" && npm ci --loglevel=error --no-fund --no-audit) || return
        touch "$dir/node_modules/.package-lock.json"
    fi

    major=$("$NODE" -p 'process.versions.node.split(".")[0]')
    if [ "$major" -lt 20 ]; then
        if [ ! -x "$dir/.node/node_modules/node/bin/node" ]; then
            echo "node $major is too old for the MCP packages: installing 20"
            npm install --prefix "$dir/.node" --no-save --loglevel=error \
                --no-fund --no-audit node@20.20.2 || return
        fi
        NODE=$dir/.node/node_modules/node/bin/node
    fi
    export NODE
}
