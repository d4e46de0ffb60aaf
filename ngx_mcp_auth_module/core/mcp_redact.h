/*
 * Takes secrets out of text for a log: tokens and keys by the form that their
 * makers gave them, passwords in URLs and JSON, card numbers; also when they
 * are written with the escapes of JSON or of a URL, once or again.
 */

#ifndef MCP_REDACT_H
#define MCP_REDACT_H


#include "mcp_core.h"


/*
 * Copies text to out (size bytes), with "[redacted:KIND]" for each secret:
 *     jwt bearer basic pem aws github gitlab slack google npm sk own
 *     userinfo (of a URL) query (a parameter that is one) member (of JSON) card
 * more: the text was cut, and what it ends in may be the beginning of one.
 * Returns the bytes that were written; text that does not fit is cut, but no
 * part of a secret is ever written.  One pass; a secret is looked at once more
 * than other text.  What begins with a secret's form is taken for one: better
 * one word less than a key in a log.
 */
size_t mcp_redact(const unsigned char *text, size_t len, unsigned more,
    unsigned char *out, size_t size);


#endif /* MCP_REDACT_H */
