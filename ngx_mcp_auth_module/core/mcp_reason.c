/*
 * The table of reasons, sorted: a number is a place in it, and so the same in
 * all processes of one version of the module.  docs/audit.md tells what each
 * means; t/status.t compares the two.
 */

#include "mcp_reason.h"


static const char *const  mcp_reasons[] = {
    "other",
    "aborted_waiting_for_credential",
    "aborted_waiting_for_keys",
    "aborted_waiting_for_token",
    "alg",
    "alg_key_mismatch",
    "alg_not_allowed",
    "allow",
    "allow_unclear",
    "allow_where",
    "arguments_type",
    "aud",
    "audience",
    "audit",
    "bad_authorization",
    "bad_uri",
    "batch",
    "body_too_large",
    "capabilities_missing",
    "client",
    "client_gone",
    "connect_browser",
    "connect_code",
    "connect_form",
    "connect_issuer",
    "connect_person",
    "connect_rate",
    "connect_refused",
    "connect_scope",
    "connect_state",
    "connect_store",
    "connect_ticket",
    "connect_ticket_other",
    "content_encoding",
    "content_type",
    "credential",
    "credential_client",
    "credential_ended",
    "credential_given_up",
    "credential_not_found",
    "credential_provider",
    "credential_refused",
    "credential_store",
    "credential_timeout",
    "credential_unknown",
    "credential_unreadable",
    "crit",
    "deny_rule",
    "deny_unclear",
    "disconnected",
    "duplicate_header",
    "duplicate_key",
    "elicitation_url",
    "era",
    "event_dropped",
    "exp",
    "expired",
    "grant_dead",
    "grant_expired",
    "granted_again",
    "header_extension",
    "header_json",
    "header_too_large",
    "http_method",
    "iat",
    "icon_removed",
    "id_too_long",
    "id_type",
    "incomplete_body",
    "insufficient_scope",
    "internal",
    "iss",
    "issued_in_future",
    "jsonrpc",
    "jti",
    "key_case",
    "key_too_long",
    "kid",
    "kid_missing",
    "login_provider",
    "message_form",
    "meta_type",
    "metadata",
    "method_and_result",
    "method_header_missing",
    "method_mismatch",
    "method_type",
    "name_header_missing",
    "name_mismatch",
    "name_too_long",
    "nbf",
    "nested",
    "nginx",
    "no_grant",
    "no_keys",
    "no_memory",
    "no_method",
    "no_person",
    "no_revoke_endpoint",
    "no_rule",
    "no_session",
    "no_token",
    "nonce",
    "not_an_access_token",
    "not_object",
    "not_yet_valid",
    "nul",
    "origin",
    "own_tokens_off",
    "params_type",
    "parse_error",
    "payload_json",
    "preflight",
    "query_token",
    "redirect_between_servers",
    "ref_type",
    "response",
    "revocation",
    "revocation_unknown",
    "revoked",
    "roles",
    "scope",
    "sender_constrained",
    "session",
    "signature",
    "sub",
    "target_missing",
    "task_owner",
    "token_characters",
    "token_encoding",
    "token_encrypted",
    "token_expired",
    "token_failures",
    "token_malformed",
    "token_revoked",
    "token_segments",
    "token_server",
    "token_store",
    "token_too_large",
    "token_too_long",
    "token_unknown",
    "too_deep",
    "too_many_groups",
    "too_many_keys",
    "too_many_uris",
    "typ",
    "unknown_issuer",
    "unknown_kid",
    "unwanted_body",
    "upstream_closed",
    "upstream_credential",
    "upstream_encoding",
    "upstream_failed",
    "upstream_invalid",
    "upstream_session",
    "upstream_status",
    "upstream_task",
    "uri_form",
    "user",
    "user_revoked",
    "version",
    "version_header",
    "version_header_missing",
    "version_malformed",
    "version_mismatch",
    "version_missing",
};

#define MCP_REASONS  (sizeof(mcp_reasons) / sizeof(mcp_reasons[0]))


unsigned
mcp_reason_number(const char *reason)
{
    int       rc;
    unsigned  low, high, middle;

    low = 1;
    high = MCP_REASONS;

    while (low < high) {
        middle = (low + high) / 2;
        rc = strcmp(reason, mcp_reasons[middle]);

        if (rc == 0) {
            return middle;
        }

        if (rc < 0) {
            high = middle;

        } else {
            low = middle + 1;
        }
    }

    return MCP_REASON_OTHER;
}


const char *
mcp_reason_text(unsigned number)
{
    return mcp_reasons[number < MCP_REASONS ? number : MCP_REASON_OTHER];
}
