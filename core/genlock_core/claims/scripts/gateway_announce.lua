-- gateway_announce(name, http, ttl in ms) -> {}; a ttl of 0 takes it off
local name, ttl = ARGV[2], tonumber(ARGV[4])
local HASH_KEPT_MS = 60000
local key = P .. 'gateway:' .. name
if ttl <= 0 then
  redis.call('ZREM', GATEWAYS, name)
  redis.call('DEL', key)
  return {}
end
redis.call('ZADD', GATEWAYS, text(now + ttl), name)
redis.call('HSET', key, 'http', ARGV[3], 'heartbeat_ms', text(now))
redis.call('PEXPIRE', key, text(ttl + HASH_KEPT_MS))
redis.call('ZREMRANGEBYSCORE', GATEWAYS, '-inf', text(now))
return {}
