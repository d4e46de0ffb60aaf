-- The gateway of lua.conf: checks a JWT and the tool that a call names.

local cjson = require "cjson.safe"
local digest = require "openssl.digest"
local lrucache = require "resty.lrucache"
local pkey = require "openssl.pkey"

local _M = {}
local key, issuer, audience
local cache = lrucache.new(4096)

function _M.init(file, iss, aud)
    local f = assert(io.open(file))
    key = pkey.new(f:read("*a"))
    f:close()
    issuer, audience = iss, aud
end

local function decode(text)
    text = text:gsub("-", "+"):gsub("_", "/")
    return ngx.decode_base64(text .. ("="):rep(-#text % 4))
end

local function verify(token)
    local input, sig = token:match("^([%w_-]+%.[%w_-]+)%.([%w_-]+)$")
    if not input then return end

    local head, payload = input:match("^(.*)%.(.*)$")
    local h = cjson.decode(decode(head) or "")
    local c = cjson.decode(decode(payload) or "")
    sig = decode(sig)

    if not (h and c and sig) or h.alg ~= "RS256" then return end

    if not key:verify(sig, digest.new("sha256"):update(input)) then return end

    if c.iss ~= issuer or c.aud ~= audience then return end

    return c
end

local function caller(remember)
    local token = (ngx.var.http_authorization or ""):match("^Bearer (.+)$")
    if not token then return end

    local c = remember and cache:get(token)

    if not c then
        c = verify(token)
        if not c then return end
        if remember then cache:set(token, c, 300) end
    end

    if type(c.exp) ~= "number" or c.exp <= ngx.time() then return end

    return c
end

function _M.access(remember)
    if not caller(remember) then return ngx.exit(401) end

    ngx.req.read_body()

    local m = cjson.decode(ngx.req.get_body_data() or "")
    if type(m) ~= "table" then return ngx.exit(400) end

    if m.method == "tools/call" then
        local name = type(m.params) == "table" and m.params.name

        if type(name) ~= "string" or name:find("^delete_")
           or name:find("^export_")
        then
            return ngx.exit(403)
        end
    end
end

return _M
