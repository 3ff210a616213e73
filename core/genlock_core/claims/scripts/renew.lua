-- renew(name, incarnation, progress, links as JSON, bytes asked for snapshots as JSON
--       [, alive, phase, late ms, patience ms, patient: 1 or 0, overloaded: 1 or 0])
--   -> {status, holding, closed, {session, epoch, ...}, {session, bytes granted, ...},
--       {session, steps granted, every how many-th frame, number, cost, cost of this level, limit or '', below since, ...}}
local name, progress = ARGV[2], tonumber(ARGV[4])
local w = redis.call('HMGET', worker_key(name), 'incarnation', 'progress', 'state', 'renewed_ms', 'overloaded', 'pool')
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
  if w[5] == '1' and ARGV[12] == '0' and w[3] == 'ready' then tell_room(name, w[6]) end
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
    local choice = choice_in(r, r.pool)
    local has_levels = choice and choice.levels
    if has_levels or r.granted_epoch == r.epoch then
      levelled[#levelled + 1] = {session = owned[i], r = r, choice = has_levels and choice}
    end
  end
end
table.sort(levelled, function(one, other)
  if one.r.granted_ms ~= other.r.granted_ms then return one.r.granted_ms < other.r.granted_ms end
  return one.session < other.session
end)
local ceilings = {}
for _, one in ipairs(levelled) do
  local session, r, choice = one.session, one.r, one.choice
  local due = r.cost
  if choice then
    local allowed = allowed_of(r, choice, r.requested)
    raise(session, r, choice, not_kept(r, choice, allowed), false)
    give_back(session, r, choice, allowed)
    due = due_of(r, choice)
  else
    raise_unpriced(session, r)
  end
  note_below(session, r)
  for _, told in ipairs({session, text(r.granted), text(r.every), text(r.granted_number), text(r.cost), text(due),
    r.limit or '', text(r.below_ms or 0)}) do ceilings[#ceilings + 1] = told end
end
return {'known', held, w[3] == 'draining' and 1 or 0, owned, granted, ceilings}
