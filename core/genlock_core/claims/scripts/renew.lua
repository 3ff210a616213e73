-- renew(name, incarnation, progress, links as JSON, bytes asked for snapshots as JSON
--       [, alive, phase, late ms, patience ms, patient: 1 or 0, overloaded: 1 or 0])
--   -> {status, holding, closed, {session, epoch, ...}, {session, bytes granted, ...},
--       {session, steps granted, number, cost, cost of these steps, ...}}
local name, progress = ARGV[2], tonumber(ARGV[4])
local w = redis.call('HMGET', worker_key(name), 'incarnation', 'progress', 'state', 'renewed_ms')
local held = holding() and 1 or 0
if w[1] ~= ARGV[3] then return {w[1] and 'superseded' or 'unknown', held, 0, {}, {}, {}} end

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

-- Wishes that wait are granted, and what nobody wants is given back, by the heartbeat of the worker that pays for it:
-- whoever has waited longest comes first.
local levelled = {}
for i = 1, #owned, 2 do
  local r = read(owned[i])
  -- A server that evicts keys may have lost the record, and somebody may have made it anew since: it is not the claim's.
  if r and r.owner == name and r.requested then
    local levels = levels_in(r, r.pool)
    if levels or r.granted_epoch == r.epoch then
      levelled[#levelled + 1] = {session = owned[i], r = r, levels = levels}
    end
  end
end
table.sort(levelled, function(one, other)
  if one.r.granted_ms ~= other.r.granted_ms then return one.r.granted_ms < other.r.granted_ms end
  return one.session < other.session
end)
local ceilings = {}
for _, one in ipairs(levelled) do
  local session, r, levels = one.session, one.r, one.levels
  local due = r.cost
  if levels then
    local wanted = math.min(r.requested, #levels)
    raise(session, r, levels, wanted, false)
    give_back(session, r, wanted)
    due = levels[r.granted]
  else
    raise_unpriced(session, r)
  end
  for _, told in ipairs({session, text(r.granted), text(r.granted_number), text(r.cost), text(due)}) do
    ceilings[#ceilings + 1] = told
  end
end
return {'known', held, w[3] == 'draining' and 1 or 0, owned, granted, ceilings}
