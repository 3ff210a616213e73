-- publisher_keep(session, resource) -> {1 if the slot is that resource's}
local slot = P .. 'publisher:' .. ARGV[2]
if redis.call('HGET', slot, 'resource') ~= ARGV[3] then return {0} end
redis.call('HSET', slot, 'expires_ms', text(now + PUBLISHER_TTL_MS))
return {1}
