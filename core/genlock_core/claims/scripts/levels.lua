-- At how many steps a session runs, and what that costs. `requested` is the user's wish; `granted` is what the claim pays
-- for; the worker runs no more than either.
-- Upwards the claim pays first, and then the worker is told. Downwards the worker is told first: the claim gets cheaper
-- when the worker has said that no chunk begins with more (`settle`). So the claim pays for whatever may run.
-- A pool's levels are its costs at 1, 2, ... steps. A record of the release before has none: it costs the same at any.

local function levels_in(r, pool)
  for _, choice in ipairs(cjson.decode(r.pools)) do
    if choice.pool == pool then return choice.levels, choice end
  end
end

local function cost_at(choice, steps)
  if not choice.levels or not steps then return choice.cost end
  return choice.levels[math.min(steps, #choice.levels)]
end

-- What the claim of this epoch pays for. Of a claim that the release before made: the highest level that it pays for.
local function granted_of(r, levels)
  if r.granted and r.granted_epoch == r.epoch then return math.min(r.granted, #levels) end
  local highest = 1
  for steps, cost in ipairs(levels) do
    if cost <= r.cost then highest = steps end
  end
  return highest
end

-- A worker of the release before runs whatever its user asks for.
local function knows_ceilings(worker) return redis.call('HGET', worker_key(worker), 'ceilings') == '1' end

local function pay(session, r, cost)
  if cost == r.cost then return end
  add_free(r.owner, r.cost - cost)
  r.cost = cost
  redis.call('HSET', record_key(session), 'cost', text(cost))
  redis.call('HSET', owned_key(r.owner), session, text(r.epoch) .. ':' .. text(cost))
end

-- The user's wish leaves alone what is kept for moves.
local function can_pay(r, cost, may_use_reserve)
  local more = cost - r.cost
  if more <= 0 then return true end
  local w = redis.call('HMGET', worker_key(r.owner), 'free', 'state')
  if more > tonumber(w[1]) then return false end
  return may_use_reserve or w[2] ~= 'ready' or not breaks_reserve(r.pool, more)
end

local function grant(session, r, steps)
  note_grant(session, r, steps)
  if knows_ceilings(r.owner) then post(r.owner, r.incarnation, 'level', session, r.epoch, '', 0, '') end
  event('phase', session, r.epoch, r.phase)  -- whoever keeps the record reads it anew
end

-- One that says so itself: more would be at the expense of all that it serves, so a raise waits as it does for room.
local function is_overloaded(worker) return redis.call('HGET', worker_key(worker), 'overloaded') == '1' end

-- The highest level up to `wanted` that the claim can pay for where it is; never less than it has.
local function affordable(r, levels, wanted, may_use_reserve)
  local has = granted_of(r, levels)
  if has < wanted and is_overloaded(r.owner) then return has end
  for steps = math.min(wanted, #levels), has + 1, -1 do
    if can_pay(r, levels[steps], may_use_reserve) then return steps end
  end
  return has
end

-- As far up as there is room. What it has already is paid for here, too, where it has got dearer; but no more than is
-- wanted, as the rest is about to be given back.
local function raise(session, r, levels, wanted, may_use_reserve)
  local steps = affordable(r, levels, wanted, may_use_reserve)
  local due = levels[math.min(steps, wanted)]
  if due > r.cost and can_pay(r, due, may_use_reserve) then pay(session, r, due) end
  if r.granted ~= steps or r.granted_epoch ~= r.epoch then grant(session, r, steps) end
end

-- The release before has written the record since: it costs the same at any steps. Its worker was told of a ceiling when
-- there were levels, and keeps to it until it is told of another one.
local function raise_unpriced(session, r)
  if r.granted < r.requested and not is_overloaded(r.owner) then grant(session, r, r.requested) end
end

-- What nobody has asked for in GIVE_BACK_MS is not granted any longer. Each change of the wish begins that time anew, so
-- that a slider on its way does not lose its place.
local function give_back(session, r, wanted)
  if r.granted <= wanted then
    if r.surplus then redis.call('HDEL', record_key(session), 'surplus', 'surplus_ms') end
    return
  end
  if r.surplus ~= text(wanted) then
    redis.call('HSET', record_key(session), 'surplus', text(wanted), 'surplus_ms', text(now))
  elseif now - r.surplus_ms >= GIVE_BACK_MS then
    grant(session, r, wanted)
  end
end

