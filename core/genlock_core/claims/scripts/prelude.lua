-- What every script shares: names, events, and the steps by which a session changes hands.
-- Always true: for every worker, free + sum(cost of its sessions) == capacity; a worker's `:sessions` and its sessions'
-- records agree; a worker is in its pool's `:free` exactly while it is ready.

local SESSIONS, WORKERS, LEASES = P .. 'sessions', P .. 'workers', P .. 'leases'
local IDLE, FINISHED, HEARTBEATS, GATEWAYS = P .. 'idle', P .. 'finished', P .. 'heartbeats', P .. 'gateways'
local PUBLICATIONS = P .. 'publications'
local EVENTS_KEPT, INBOX_KEPT, SCANNED_AT_ONCE = 10000, 1000, 50
local CLAIM_FIELDS = {'owner', 'incarnation', 'address', 'pool', 'cost'}

local function record_key(session) return P .. 'session:' .. session end
local function worker_key(worker) return P .. 'worker:' .. worker end
local function owned_key(worker) return P .. 'worker:' .. worker .. ':sessions' end
local function inbox_key(worker) return P .. 'worker:' .. worker .. ':inbox' end
local function gateway_key(name) return P .. 'gateway:' .. name end
local function slot_key(session) return P .. 'publisher:' .. session end
local function candidates_key(session) return slot_key(session) .. ':candidates' end
local function free_key(pool) return P .. 'pool:' .. pool .. ':free' end
local function waiting_key(pool) return P .. 'pool:' .. pool .. ':waiting' end
local function hole_key(pool) return P .. 'pool:' .. pool .. ':hole' end
local function levelling_key(pool) return P .. 'pool:' .. pool .. ':levelling' end

local function event(kind, session, epoch, detail)
  redis.call('XADD', P .. 'events', 'MAXLEN', '~', EVENTS_KEPT, '*',
    'kind', kind, 'session', session, 'epoch', text(epoch), 'detail', detail)
end

-- A kind that the release before cannot read: for it this is a record that is to be read anew.
local function news(kind, session, epoch, detail)
  redis.call('XADD', P .. 'events', 'MAXLEN', '~', EVENTS_KEPT, '*',
    'kind', 'phase', 'news', kind, 'session', session, 'epoch', text(epoch), 'detail', detail)
end

local function post(worker, incarnation, kind, session, epoch, cause, successor_epoch, successor_address)
  redis.call('XADD', inbox_key(worker), 'MAXLEN', '~', INBOX_KEPT, '*',
    'incarnation', incarnation, 'kind', kind, 'session', session, 'epoch', text(epoch), 'cause', cause,
    'successor_epoch', text(successor_epoch), 'successor_address', successor_address)
end

-- Does nothing move by lease? So it is while Redis takes no writes, and while it is newly back. Its run id changes when
-- it restarts and when a replica takes over; lost data lost the guard too.
local function holding()
  if not takes_writes then return true end
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local guard = redis.call('HMGET', GUARD, 'run_id', 'since_ms')
  if guard[1] ~= run then
    redis.call('HSET', GUARD, 'run_id', run, 'since_ms', text(now))
    return true
  end
  return now - tonumber(guard[2]) < HOLD_MS
end

-- The parts of a record that decide anything, or nil.
local function read(session)
  local r = redis.call('HMGET', record_key(session), 'phase', 'epoch', 'owner', 'incarnation', 'address', 'pool', 'cost',
    'snapshot_format', 'pools', 'idle_timeout_ms', 'ttl_ms', 'reason', 'active_ms', 'seen_epoch',
    'steps', 'min_steps', 'control:steps', 'granted', 'granted_epoch', 'granted_number', 'granted_ms',
    'surplus', 'surplus_ms', 'granted_half', 'limit', 'below_ms', 'stand_ins', 'model', 'waits')
  if not r[1] then return nil end
  return {name = session, phase = r[1], epoch = tonumber(r[2]), owner = r[3], incarnation = r[4], address = r[5], pool = r[6],
    cost = tonumber(r[7] or 0), format = tonumber(r[8]), pools = r[9], idle_timeout_ms = tonumber(r[10]),
    ttl_ms = tonumber(r[11]), reason = r[12], active_ms = tonumber(r[13]), seen_epoch = tonumber(r[14] or 0),
    requested = tonumber(r[17]) or tonumber(r[15]), min_steps = tonumber(r[16]),
    granted = tonumber(r[18]), granted_epoch = tonumber(r[19] or 0), granted_number = tonumber(r[20] or 0),
    granted_ms = tonumber(r[21] or 0), surplus = r[22], surplus_ms = tonumber(r[23] or 0),
    every = r[20] and r[24] == r[20] and 2 or 1, limit = r[25], below_ms = tonumber(r[26]),
    stand_ins = r[27] or '[]', stand_in = r[28], waits = r[29]}
end

local function claim_of(r) return text(r.epoch), r.owner, r.incarnation, r.address, r.pool, text(r.cost) end

local function set_phase(session, r, phase, reason)
  if r.phase == phase and r.reason == reason then return end
  r.phase, r.reason = phase, reason
  redis.call('HSET', record_key(session), 'phase', phase, 'reason', reason)
  event('phase', session, r.epoch, phase)
end

local function is_finished(phase) return phase == 'Ended' or phase == 'Failed' end

-- Who found no room waits in all of its pools (`:waiting` is ordered by since when) until it is served, or has not asked
-- for some time. `waits`: the epoch under which it asked, and when. What is left behind of it is dropped where it is met.
local function still_waits(phase, epoch, waits)
  local of_epoch, asked_ms = string.match(waits or '', '^(%d+) (%d+)$')
  if not of_epoch or of_epoch ~= epoch or is_finished(phase) then return false end
  local since_ms = now - tonumber(asked_ms)
  return 0 <= since_ms and since_ms <= WAITS_MS
end

local function is_waiting(session)
  return still_waits(unpack(redis.call('HMGET', record_key(session), 'phase', 'epoch', 'waits')))
end

local function pools_of(r)
  local pools = {}
  for _, choices in ipairs({r.pools, r.stand_ins}) do
    for _, choice in ipairs(cjson.decode(choices)) do pools[#pools + 1] = choice.pool end
  end
  return pools
end

-- Had it a worker before? A record of an older replica does not say so; the epochs that somebody has seen do.
local function had_worker(r) return math.max(r.epoch, r.seen_epoch) > 0 end

-- What happens to the sessions of a pool is counted (`counters.py`): these counts only grow. A session that has no worker
-- counts for the pool that it would like best.
local function count(r, pool, what)
  local counted = pool or pools_of(r)[1]
  if counted then redis.call('HINCRBY', P .. 'pool:' .. counted .. ':counts', what, 1) end
end

local function note_waiting(session, r)
  local waited = is_waiting(session)
  -- Who asks is told that there is no room, also where Redis takes no writes.
  local written = redis.pcall('HSET', record_key(session), 'waits', text(r.epoch) .. ' ' .. text(now))
  if type(written) == 'table' and written.err then return end
  for _, pool in ipairs(pools_of(r)) do
    local is_new = redis.call('ZADD', waiting_key(pool), waited and 'NX' or 'CH', text(now), session) == 1
    if is_new then news('waiting', session, r.epoch, pool) end
  end
  -- It is turned away once, however often it asks again.
  local is_first = not had_worker(r) and redis.call('HSETNX', record_key(session), 'blocked', '1') == 1
  if is_first then count(r, nil, 'blocked') end
end

local function end_waiting(session, r)
  if not r.waits then return end
  redis.call('HDEL', record_key(session), 'waits')
  for _, pool in ipairs(pools_of(r)) do redis.call('ZREM', waiting_key(pool), session) end
  r.waits = false
end

-- Who waits longest in a pool, or nil.
local function first_waiting(pool)
  for _, session in ipairs(redis.call('ZRANGE', waiting_key(pool), 0, SCANNED_AT_ONCE - 1)) do
    if is_waiting(session) then return session end
    redis.call('ZREM', waiting_key(pool), session)
  end
end

-- The worker whose room is kept in a pool, and for whom: until it is enough, for a while, as long as that one waits.
-- `hole` is a pool's last one. What is left behind of it keeps the next one away for a pause, unless its worker has left.
local function hole_in(pool)
  local hole = redis.call('HMGET', hole_key(pool), 'session', 'worker', 'since_ms')
  if not hole[1] then return nil end
  local age_ms = now - tonumber(hole[3])
  local waits = is_waiting(hole[1]) and redis.call('ZSCORE', waiting_key(pool), hole[1])
  local is_there = redis.call('ZSCORE', free_key(pool), hole[2])
  local holds = 0 <= age_ms and age_ms < HOLE_KEPT_MS and waits and is_there
  return {session = hole[1], worker = hole[2], age_ms = age_ms, is_there = is_there, holds = holds}
end

local function is_fresh(heartbeat_ms) return now - tonumber(heartbeat_ms) <= HEARTBEAT_STALE_MS end

-- A worker has more room than before. It is kept for a moment for those who wait for one: they hear of it.
local function tell_room(worker, pool)
  local session = first_waiting(pool)
  if not session then return end
  redis.call('HSET', worker_key(worker), 'room_ms', text(now))
  news('room', session, 0, pool)
end

-- What the workers of a pool that could take a move have free together, where this script has asked already: a claim
-- asks for each of its levels, a heartbeat for each of its sessions.
local free_in_pool = {}

local function add_free(worker, amount)
  local free = redis.call('HINCRBY', worker_key(worker), 'free', text(amount))
  local at = redis.call('HMGET', worker_key(worker), 'pool', 'state', 'heartbeat_ms')
  if at[2] ~= 'ready' then return end
  redis.call('ZADD', free_key(at[1]), free, worker)
  if free_in_pool[at[1]] and is_fresh(at[3]) then free_in_pool[at[1]] = free_in_pool[at[1]] + amount end
  if amount > 0 and is_fresh(at[3]) then tell_room(worker, at[1]) end
end

-- It is served: what was kept for it may be kept for the next one at once.
local function end_hole(session, r)
  if not r.waits then return end
  for _, pool in ipairs(pools_of(r)) do
    if redis.call('HGET', hole_key(pool), 'session') == session then redis.call('DEL', hole_key(pool)) end
  end
end

-- The owner loses the session, gets its room back, and is told who follows (successor_epoch 0: nobody).
local function take_away(session, r, cause, successor_epoch, successor_address)
  if not r.owner then return end
  redis.call('HDEL', owned_key(r.owner), session)
  add_free(r.owner, r.cost)
  post(r.owner, r.incarnation, 'withdraw', session, r.epoch, cause, successor_epoch, successor_address)
  redis.call('HDEL', record_key(session), unpack(CLAIM_FIELDS))
  redis.call('ZREM', LEASES, session)
  r.owner, r.incarnation, r.address, r.pool, r.cost = false, false, false, false, 0
end

-- For how long a lease of this worker lasts: longer where it is normal that it stands still, and where its heartbeats
-- come slowly, as they do through a slow Redis. One of the release before does not say what is normal for it.
local function lease_ms(worker)
  local w = redis.call('HMGET', worker_key(worker), 'patience_ms', 'every_ms')
  local normal_ms = math.max(tonumber(w[1] or 0) + LEASE_BEYOND_PATIENCE_MS, LEASE_HEARTBEATS * tonumber(w[2] or 0))
  return math.max(LEASE_MS, math.min(normal_ms, LONGEST_LEASE_MS))
end

-- Since when less is granted than is requested.
local function note_below(session, r)
  local is_below = r.every == 2 or r.requested and r.granted < r.requested
  if is_below and not r.below_ms then
    r.below_ms = now
    redis.call('HSET', record_key(session), 'below_ms', text(now))
  elseif not is_below and r.below_ms then
    r.below_ms = nil
    redis.call('HDEL', record_key(session), 'below_ms')
  end
end

-- That level is what the claim of this epoch pays for: so many steps of every frame, or of every second one (`every` 2).
-- The number orders the changes, also where Redis went back.
local function note_grant(session, r, steps, every)
  r.granted, r.every, r.granted_epoch = steps, every, r.epoch
  r.granted_number, r.granted_ms, r.surplus = math.max(r.granted_number + 1, wall), now, false
  redis.call('HSET', record_key(session), 'granted', text(steps), 'granted_epoch', text(r.epoch),
    'granted_number', text(r.granted_number), 'granted_ms', text(now))
  redis.call('HDEL', record_key(session), 'surplus', 'surplus_ms')
  -- It names the number, as the release before leaves it as it is when it grants anew.
  if every == 2 then redis.call('HSET', record_key(session), 'granted_half', text(r.granted_number)) end
  note_below(session, r)
end

-- `level`: the steps and `every` that `cost` pays for; nil for a record without levels.
local function give(session, r, worker, cost, epoch, cause, level)
  local w = redis.call('HMGET', worker_key(worker), 'incarnation', 'address', 'pool')
  r.owner, r.incarnation, r.address, r.pool, r.cost, r.epoch = worker, w[1], w[2], w[3], cost, epoch
  redis.call('HSET', record_key(session), 'owner', worker, 'incarnation', w[1], 'address', w[2], 'pool', w[3],
    'cost', text(cost), 'epoch', text(epoch))
  redis.call('HSET', owned_key(worker), session, text(epoch) .. ':' .. text(cost))
  add_free(worker, -cost)
  if level then note_grant(session, r, level.steps, level.every) end
  end_hole(session, r)
  end_waiting(session, r)
  redis.call('ZADD', LEASES, text(now + lease_ms(worker)), session)
  post(worker, w[1], 'assign', session, epoch, cause, 0, '')
end

-- Somebody has seen that epoch. A record that is behind it comes from a replica that knew less.
local function note_epoch(session, r, seen)
  if seen <= math.max(r.epoch, r.seen_epoch) then return end
  r.seen_epoch = seen
  redis.call('HSET', record_key(session), 'seen_epoch', text(seen))
end

local function next_epoch(r) return math.max(r.epoch + 1, r.seen_epoch + 1, wall) end

local function free_of(pool)
  if free_in_pool[pool] then return free_in_pool[pool] end
  local free = 0
  local at = redis.call('ZRANGE', free_key(pool), 0, -1, 'WITHSCORES')
  for i = 1, #at, 2 do
    if is_fresh(redis.call('HGET', worker_key(at[i]), 'heartbeat_ms')) then free = free + tonumber(at[i + 1]) end
  end
  free_in_pool[pool] = free
  return free
end

-- Would a claim of that cost leave the pool less than its reserve? Only workers that could take a move count.
local function breaks_reserve(pool, cost)
  local reserve = tonumber(redis.call('HGET', P .. 'pool:' .. pool .. ':settings', 'reserve') or 0)
  return reserve > 0 and free_of(pool) - cost < reserve
end

-- Nobody owns it any more, and somebody should.
local function orphan(session, r, reason)
  local worker = r.owner
  take_away(session, r, '', 0, '')
  event('expired', session, r.epoch, worker)
  set_phase(session, r, 'Recovering', reason)
end

local function release(session, r, phase, reason)
  local worker = r.owner
  if is_finished(phase) and had_worker(r) then count(r, r.pool, 'departures') end
  if worker then
    take_away(session, r, '', 0, '')
    event('released', session, r.epoch, worker)
  end
  set_phase(session, r, phase, reason)
  if is_finished(phase) then
    end_waiting(session, r)
    redis.call('HSET', record_key(session), 'finished_ms', text(wall))
    redis.call('ZREM', IDLE, session)
    redis.call('ZADD', FINISHED, text(now + r.ttl_ms), session)
  end
end

local function forget(session, r)
  if not is_finished(r.phase) and had_worker(r) then count(r, nil, 'departures') end
  end_waiting(session, r)
  redis.call('DEL', record_key(session))
  redis.call('SREM', SESSIONS, session)
  redis.call('ZREM', IDLE, session)
  redis.call('ZREM', FINISHED, session)
  event('forgotten', session, r.epoch, '')
end

-- A new record: `fields` is the whole hash, without the claim.
local function write_record(session, fields)
  for _, name in ipairs(CLAIM_FIELDS) do fields[name] = nil end
  for name, value in pairs(fields) do redis.call('HSET', record_key(session), name, value) end
  redis.call('SADD', SESSIONS, session)
  redis.call('ZADD', IDLE, text(now + tonumber(fields.idle_timeout_ms)), session)
  event('created', session, tonumber(fields.epoch), '')
end

-- A process of the release before goes by Redis' clock: it finds what is written in proven time run out as soon as that
-- lags behind. So while one is here the two are the same. Its marks: a worker without `proven`, a gateway whose
-- heartbeat is not its proven one.
local function is_mixed()
  for _, worker in ipairs(redis.call('SMEMBERS', WORKERS)) do
    local w = redis.call('HMGET', worker_key(worker), 'incarnation', 'proven')
    if w[1] and not w[2] then return true end
  end
  for _, gateway in ipairs(redis.call('ZRANGEBYSCORE', GATEWAYS, '(' .. text(now), '+inf')) do
    local g = redis.call('HMGET', gateway_key(gateway), 'heartbeat_ms', 'proven_ms')
    if g[1] and g[1] ~= g[2] then return true end
  end
  return false
end

local function note_releases()
  local known, mixed = redis.call('HGET', CLOCK, 'mixed'), is_mixed() and '1' or '0'
  if mixed == known then return end
  redis.call('HSET', CLOCK, 'mixed', mixed)
  if mixed == '1' then settle(wall) end  -- proven time is about to jump to Redis' own: all renew before anything ends
end

-- A worker process comes in; what an older incarnation owned is void. Returns those sessions.
local function enroll(offer)
  local name, voided = offer.name, redis.call('HKEYS', owned_key(offer.name))
  table.sort(voided)
  for _, session in ipairs(voided) do
    local r = read(session)
    if r and r.owner == name then orphan(session, r, 'WorkerRestarted') end
    redis.call('HDEL', owned_key(name), session)  -- also where the record is lost, as on a server that evicts keys
  end
  local old_pool = redis.call('HGET', worker_key(name), 'pool')
  if old_pool then redis.call('ZREM', free_key(old_pool), name) end
  redis.call('DEL', worker_key(name), inbox_key(name))
  redis.call('HSET', worker_key(name), 'incarnation', offer.incarnation, 'pool', offer.pool, 'model', offer.model,
    'capacity', text(offer.capacity), 'free', text(offer.capacity), 'address', offer.address, 'state', 'ready',
    'heartbeat_ms', text(now), 'progress', '-1', 'links', '{}',
    'oldest', text(offer.oldest), 'newest', text(offer.newest),
    'gpu_product', offer.gpu_product, 'gpus', text(offer.gpus), 'engine', offer.engine,
    'proven', '1', 'ceilings', '1', 'halves', offer.halves and '1' or '0')
  redis.call('SADD', WORKERS, name)
  redis.call('ZADD', HEARTBEATS, text(now), name)
  redis.call('ZADD', free_key(offer.pool), text(offer.capacity), name)
  tell_room(name, offer.pool)
  note_releases()
  return voided
end

-- It drains: no claim and no move finds it any more.
local function close(worker, pool)
  redis.call('HSET', worker_key(worker), 'state', 'draining')
  redis.call('ZREM', free_key(pool), worker)
end


