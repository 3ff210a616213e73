-- At which level a session runs, and what that costs. `requested` is the user's wish; `granted` is what the claim pays
-- for; `limit` is the most that the plan of levels allows; the worker runs no more than what is granted.
-- Upwards the claim pays first, and then the worker is told. Downwards the worker is told first: the claim gets cheaper
-- when the worker has said that no chunk begins with more (`settle`). So the claim pays for whatever may run.
-- A session's ladder in a pool has rungs: its steps, 1, 2, ..., with their costs in `levels`, and below them all HALVED,
-- every second frame, with its steps and its cost in `half`. A record of the release before costs the same at any.

local HALVED = 0

local function own_choices(r)
  r.own = r.own or cjson.decode(r.pools)
  return r.own
end

local function stand_in_choices(r)
  r.others = r.others or cjson.decode(r.stand_ins)
  return r.others
end

local function in_pool(choices, pool)
  for _, choice in ipairs(choices) do
    if choice.pool == pool then return choice end
  end
end

-- The choice that the record has for this pool, or nil.
local function choice_in(r, pool) return in_pool(own_choices(r), pool) or in_pool(stand_in_choices(r), pool) end

local function lowest_full_rung(r, wanted) return math.min(r.min_steps or wanted, wanted) end

-- Fewer steps than at every second frame are no higher level than that, so who wants them is not halved.
local function may_halve(r, choice) return choice.half and r.min_steps and choice.half.steps <= r.requested end

-- What a rung costs there; nil where it is none.
local function cost_at(r, choice, rung)
  if rung == HALVED then return may_halve(r, choice) and choice.half.cost or nil end
  if not choice.levels or not rung then return choice.cost end
  return choice.levels[math.min(rung, #choice.levels)]
end

local function level_at(choice, rung)
  if rung == HALVED then return {steps = choice.half.steps, every = 2} end
  return {steps = math.min(rung, #choice.levels), every = 1}
end

local function rung_of(steps, every) return every == 2 and HALVED or steps end

-- The rung that the claim of this epoch pays for. Of a claim that the release before made: the highest that it pays for.
local function granted_of(r, choice)
  if r.granted and r.granted_epoch == r.epoch then return rung_of(math.min(r.granted, #choice.levels), r.every) end
  local highest = 1
  for steps, cost in ipairs(choice.levels) do
    if cost <= r.cost then highest = steps end
  end
  return highest
end

-- The same as a level.
local function level_of(r, choice)
  local rung = granted_of(r, choice)
  return rung == HALVED and {steps = r.granted, every = 2} or level_at(choice, rung)
end

-- The highest rung that the claim may be raised to for a wish: all of it, or what the plan allows the claim of this epoch.
-- A limit below what the spec allows by now is none.
local function allowed_of(r, choice, wish)
  local wanted = math.min(wish, #choice.levels)
  local epoch, steps, every = string.match(r.limit or '', '^(%d+) (%d+) (%d) ')
  if not epoch or tonumber(epoch) ~= r.epoch then return wanted end
  local rung = rung_of(tonumber(steps), tonumber(every))
  if rung ~= HALVED or not may_halve(r, choice) then rung = math.max(rung, lowest_full_rung(r, wanted)) end
  return math.min(wanted, rung)
end

-- What the claim will pay once its worker has settled what is granted.
local function due_of(r, choice) return cost_at(r, choice, granted_of(r, choice)) or r.cost end

-- A worker of the release before runs whatever its user asks for.
local function knows_ceilings(worker) return redis.call('HGET', worker_key(worker), 'ceilings') == '1' end

-- The heartbeats of the release before raise each claim as far as it is requested, whatever a plan allows it. That one
-- does not say whether it can halve.
local function knows_limits(worker)
  return knows_ceilings(worker) and redis.call('HEXISTS', worker_key(worker), 'halves') == 1
end

local function knows_halves(worker) return redis.call('HGET', worker_key(worker), 'halves') == '1' end

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

local function grant(session, r, level)
  note_grant(session, r, level.steps, level.every)
  if knows_ceilings(r.owner) then post(r.owner, r.incarnation, 'level', session, r.epoch, '', 0, '') end
  event('phase', session, r.epoch, r.phase)  -- whoever keeps the record reads it anew
end

-- One that says so itself: more would be at the expense of all that it serves, so a raise waits as it does for room.
local function is_overloaded(worker) return redis.call('HGET', worker_key(worker), 'overloaded') == '1' end

-- Is its room kept for who waits longest in the pool?
local function is_hole(worker, pool)
  local hole = hole_in(pool)
  return hole and hole.holds and hole.worker == worker
end

-- Whoever waits for a worker comes before wishes: a hole is theirs for a moment.
local function is_kept_for_waiting(worker, pool)
  if is_hole(worker, pool) then return true end
  local room_ms = tonumber(redis.call('HGET', worker_key(worker), 'room_ms'))
  if not room_ms or now < room_ms or now - room_ms >= ROOM_KEPT_MS then return false end
  return first_waiting(pool) ~= nil
end

-- As much of what is allowed as a wish may have now: a hole is for a moment kept for those who wait.
local function not_kept(r, choice, allowed)
  local has = granted_of(r, choice)
  return allowed > has and is_kept_for_waiting(r.owner, r.pool) and has or allowed
end

-- The highest rung up to `wanted` that the claim can pay for where it is; never less than it has.
local function affordable(r, choice, wanted, may_use_reserve)
  local has = granted_of(r, choice)
  if wanted <= has or is_overloaded(r.owner) then return has end
  local least = has == HALVED and lowest_full_rung(r, wanted) or has + 1
  for rung = wanted, least, -1 do
    if can_pay(r, cost_at(r, choice, rung), may_use_reserve) then return rung end
  end
  return has
end

-- As far up as there is room. What it has already is paid for here, too, where it has got dearer; but no more than is
-- wanted, as the rest is about to be given back.
local function raise(session, r, choice, wanted, may_use_reserve)
  local rung = affordable(r, choice, wanted, may_use_reserve)
  local due = cost_at(r, choice, math.min(rung, wanted)) or r.cost
  if due > r.cost and can_pay(r, due, may_use_reserve) then pay(session, r, due) end

  local is_granted = r.granted_epoch == r.epoch and granted_of(r, choice) == rung
  if rung == HALVED and may_halve(r, choice) and due <= r.cost then
    is_granted = is_granted and r.granted == choice.half.steps
  end
  if not is_granted then grant(session, r, level_at(choice, rung)) end
end

-- The release before has written the record since: it costs the same at any steps. Its worker was told of a ceiling when
-- there were levels, and keeps to it until it is told of another one.
local function raise_unpriced(session, r)
  local has_all = r.granted >= r.requested and r.every == 1
  if not has_all and not is_overloaded(r.owner) then grant(session, r, {steps = r.requested, every = 1}) end
end

-- What nobody has asked for in GIVE_BACK_MS is not granted any longer. Each change of the wish begins that time anew, so
-- that a slider on its way does not lose its place.
local function give_back(session, r, choice, wanted)
  if granted_of(r, choice) <= wanted then
    if r.surplus then redis.call('HDEL', record_key(session), 'surplus', 'surplus_ms') end
    return
  end
  if r.surplus ~= text(wanted) then
    redis.call('HSET', record_key(session), 'surplus', text(wanted), 'surplus_ms', text(now))
  elseif now - r.surplus_ms >= GIVE_BACK_MS and (cost_at(r, choice, wanted) or 0) <= r.cost then
    grant(session, r, level_at(choice, wanted))
  end
end

