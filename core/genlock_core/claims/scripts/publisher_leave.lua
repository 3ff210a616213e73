-- publisher_leave(session, resource) -> {1 if the slot was that resource's}
local slot = P .. 'publisher:' .. ARGV[2]
if redis.call('HGET', slot, 'resource') ~= ARGV[3] then return {0} end
redis.call('HDEL', slot, 'key', 'gateway', 'resource', 'previous', 'expires_ms')
return {1}
