-- renew(name, incarnation, progress, links as JSON) -> {status, holding, closed, {session, epoch, ...}}
local name, progress = ARGV[2], tonumber(ARGV[4])
local w = redis.call('HMGET', worker_key(name), 'incarnation', 'progress', 'state')
local held = holding() and 1 or 0
if w[1] ~= ARGV[3] then return {w[1] and 'superseded' or 'unknown', held, 0, {}} end

local owned = redis.call('HGETALL', owned_key(name))
redis.call('HSET', worker_key(name), 'links', ARGV[5])
if progress > tonumber(w[2]) then
  redis.call('HSET', worker_key(name), 'progress', ARGV[4], 'heartbeat_ms', text(now))
  redis.call('ZADD', HEARTBEATS, text(now), name)
  for i = 1, #owned, 2 do redis.call('ZADD', LEASES, text(now + LEASE_MS), owned[i]) end
end
for i = 2, #owned, 2 do owned[i] = string.match(owned[i], '^%d+') end
return {'known', held, w[3] == 'draining' and 1 or 0, owned}
