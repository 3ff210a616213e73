-- expire(limit) -> the sessions whose lease ran out
local limit = ARGV[2]
if holding() then return {} end

local function due(index, before)
  return redis.call('ZRANGEBYSCORE', index, '-inf', text(before), 'LIMIT', 0, limit)
end

-- A server that evicts keys (`store.check` warns of it) may have lost the record, and somebody may have made it anew since,
-- without an owner: its entry must not stop the sweep.
local function sweep(index, act)
  local sessions = due(index, now)
  for _, session in ipairs(sessions) do
    local r = read(session)
    if r then act(session, r) else redis.call('ZREM', index, session) end
  end
  return sessions
end

local expired = sweep(LEASES, function(session, r)
  if r.owner then orphan(session, r, 'LeaseExpired') else redis.call('ZREM', LEASES, session) end
end)
sweep(IDLE, function(session, r) release(session, r, 'Ended', 'Idle') end)
sweep(FINISHED, forget)
for _, session in ipairs(due(PUBLICATIONS, now)) do
  redis.call('DEL', slot_key(session), candidates_key(session))
  redis.call('ZREM', PUBLICATIONS, session)
end
for _, worker in ipairs(due(HEARTBEATS, now - WORKER_GONE_MS)) do
  if redis.call('HLEN', owned_key(worker)) == 0 then
    redis.call('ZREM', free_key(redis.call('HGET', worker_key(worker), 'pool')), worker)
    redis.call('DEL', worker_key(worker), inbox_key(worker))
    redis.call('SREM', WORKERS, worker)
    redis.call('ZREM', HEARTBEATS, worker)
  end
end
return expired
