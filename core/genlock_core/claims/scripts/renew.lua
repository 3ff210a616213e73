-- renew(name, incarnation, progress, links as JSON, bytes asked for snapshots as JSON
--       [, alive, phase, late ms, patience ms, patient: 1 or 0, overloaded: 1 or 0])
--   -> {status, holding, closed, {session, epoch, ...}, {session, bytes granted, ...}}
local name, progress = ARGV[2], tonumber(ARGV[4])
local w = redis.call('HMGET', worker_key(name), 'incarnation', 'progress', 'state', 'renewed_ms')
local held = holding() and 1 or 0
if w[1] ~= ARGV[3] then return {w[1] and 'superseded' or 'unknown', held, 0, {}, {}} end

local owned = redis.call('HGETALL', owned_key(name))
redis.call('HSET', worker_key(name), 'links', ARGV[5], 'renewed_ms', text(now),
  'every_ms', text(w[4] and now - tonumber(w[4]) or 0))
local progressed = progress > tonumber(w[2])
if progressed then
  redis.call('HSET', worker_key(name), 'progress', ARGV[4], 'heartbeat_ms', text(now))
  redis.call('ZADD', HEARTBEATS, text(now), name)
end

-- A worker of the release before says nothing of itself.
local patient = false
if ARGV[7] then
  redis.call('HSET', worker_key(name), 'alive', ARGV[7], 'phase', ARGV[8], 'late_ms', ARGV[9],
    'patience_ms', ARGV[10], 'patient', ARGV[11], 'overloaded', ARGV[12])
  patient = ARGV[11] == '1'
end
if progressed or patient then
  local until_ms = text(now + lease_ms(name))
  for i = 1, #owned, 2 do redis.call('ZADD', LEASES, until_ms, owned[i]) end
end
for i = 2, #owned, 2 do owned[i] = string.match(owned[i], '^%d+') end

-- A heartbeat that comes late, or a second time, asks for what was right then: it books nothing.
local granted = progressed and book_snapshots(owned, cjson.decode(ARGV[6])) or {}
return {'known', held, w[3] == 'draining' and 1 or 0, owned, granted}
