-- wrk's script for the bench: each request is HEAD, a bearer token and BODY.
--
--     wrk ... -s load.lua URL -- HEAD BODY TOKENS START
--
-- HEAD, BODY and TOKENS are files; HEAD has a header on each line, TOKENS a
-- token on each line.  They are used in turn, from number START (from 0) on.
-- The last line of the output is for the program that called wrk.

local requests = {}
local next_one = 0

local function read(name)
    local f = assert(io.open(name, "rb"))
    local text = f:read("*a")
    f:close()
    return text
end

function init(args)
    local headers = {}

    for line in read(args[1]):gmatch("[^\n]+") do
        local name, value = line:match("^([^:]+): (.*)$")
        headers[name] = value
    end

    local body = read(args[2])

    for token in read(args[3]):gmatch("[^\n]+") do
        headers["Authorization"] = "Bearer " .. token
        requests[#requests + 1] = wrk.format("POST", wrk.path, headers, body)
    end

    next_one = tonumber(args[4]) % #requests
end

function request()
    next_one = next_one % #requests + 1
    return requests[next_one]
end

function done(summary, latency, all)
    local e = summary.errors

    io.write(string.format("requests=%d us=%d bytes=%d errors=%d "
             .. "p50=%d p99=%d\n", summary.requests, summary.duration,
             summary.bytes,
             e.connect + e.read + e.write + e.status + e.timeout,
             latency:percentile(50), latency:percentile(99)))
end
