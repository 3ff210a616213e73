-- publisher_current(session) -> {gateway, resource, run} | {}
local s = redis.call('HMGET', P .. 'publisher:' .. ARGV[2], 'gateway', 'resource', 'run', 'expires_ms')
if not s[1] or tonumber(s[4]) <= now then return {} end
if tonumber(redis.call('ZSCORE', GATEWAYS, s[1]) or 0) <= now then return {} end
return {s[1], s[2], s[3]}
