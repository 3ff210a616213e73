-- gateway_announce(name, http, ttl in ms) -> {}; a ttl of 0 takes it off
local name, ttl = ARGV[2], tonumber(ARGV[4])
local function forget_gateway(gone)
  redis.call('ZREM', GATEWAYS, gone)
  redis.call('DEL', gateway_key(gone))
end

if ttl <= 0 then
  forget_gateway(name)
  return {}
end
redis.call('ZADD', GATEWAYS, text(now + ttl), name)
redis.call('HSET', gateway_key(name), 'http', ARGV[3], 'heartbeat_ms', text(now), 'proven_ms', text(now))
redis.call('PERSIST', gateway_key(name))  -- a gateway of the release before gave it a time to live
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', GATEWAYS, '-inf', text(now))) do forget_gateway(gone) end
note_releases()
return {}
