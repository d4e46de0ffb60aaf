# Sourced by t/e2e/run: the authority that the TLS tests trust.  It is made
# anew for each run, since node reads it when it starts: the official clients
# then verify certificates as they always do, with nothing about it in a test.

# Sets MCP_CA, a directory with ca.pem and ca.key.
ca_make() {
    MCP_CA=$(mktemp -d)
    openssl req -x509 -nodes -days 2 -newkey ec \
        -pkeyopt ec_paramgen_curve:prime256v1 -subj '/CN=end-to-end tests' \
        -addext 'keyUsage=critical,keyCertSign' \
        -keyout "$MCP_CA/ca.key" -out "$MCP_CA/ca.pem" 2>/dev/null

    NODE_EXTRA_CA_CERTS=$MCP_CA/ca.pem
    export MCP_CA NODE_EXTRA_CA_CERTS
}
