-- publisher_enter(session, key, gateway, resource) -> {'entered', run [, previous gateway, resource, run]} | {'conflict', gateway}
-- The hash outlives the slot, so that `run` grows even if the clock goes back.
local slot, key, gateway, resource = P .. 'publisher:' .. ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local HASH_KEPT_MS = 3600000
local s = redis.call('HMGET', slot, 'key', 'gateway', 'resource', 'run', 'expires_ms', 'previous')
local up = s[2] and tonumber(redis.call('ZSCORE', GATEWAYS, s[2]) or 0) > now
local held = s[1] and up and tonumber(s[5]) > now
if held and s[1] ~= key then return {'conflict', s[2]} end

local run, previous = s[4], s[6]
if not (held and s[2] == gateway and s[3] == resource) then
  run = text(math.max(tonumber(s[4] or 0) + 1, now))
  previous = held and cjson.encode({s[2], s[3], s[4]}) or ''
end
redis.call('HSET', slot, 'key', key, 'gateway', gateway, 'resource', resource, 'run', run, 'previous', previous,
  'expires_ms', text(now + PUBLISHER_TTL_MS))
redis.call('PEXPIRE', slot, HASH_KEPT_MS)
if previous == '' then return {'entered', run} end
return {'entered', run, unpack(cjson.decode(previous))}
