-- Which worker a session gets, and at which level.

local function reads(format, oldest, newest)
  return format == 0 or (tonumber(oldest) <= format and format <= tonumber(newest))
end

-- Who is chosen first: who was not late lately, then who was, then who is overloaded (it says so itself). One without a
-- session is not overloaded, whatever it says. A worker of the release before says nothing of the kind.
local ON_TIME, LATE, OVERLOADED = 1, 2, 3

local function strain_of(worker, late_ms, overloaded)
  if overloaded == '1' and redis.call('HLEN', owned_key(worker)) > 0 then return OVERLOADED end
  return tonumber(late_ms or 0) < LATE_MS and ON_TIME or LATE
end

-- What decides whether a worker may serve, read once in a script: a choice looks at the same ones for each of its levels.
local candidates = {}

local function candidate(name)
  if candidates[name] then return candidates[name] end
  local w = redis.call('HMGET', worker_key(name), 'heartbeat_ms', 'oldest', 'newest', 'late_ms', 'overloaded',
    'ceilings', 'halves')
  candidates[name] = {is_fresh = is_fresh(w[1]), oldest = w[2], newest = w[3], strain = strain_of(name, w[4], w[5]),
    ceilings = w[6] == '1', halves = w[7] == '1'}
  return candidates[name]
end

-- Where no new session may come in now, because the room there is kept for one that waits longer; nil: nowhere. One that
-- had a worker before is watched, and goes where there is room.
local holes = {}

local function hole_for_others(pool, r)
  if had_worker(r) then return nil end
  if holes[pool] == nil then holes[pool] = hole_in(pool) or false end
  local hole = holes[pool]
  return hole and hole.holds and hole.session ~= r.name and hole or nil
end

-- Packed order: of the workers with room the one with the least; by name among equals. `strain`: the most it may have.
-- One that leaves out no frame is given no session to halve, and one that knows no ceilings none below what it wants: it
-- would run that.
local function fullest(pool, cost, r, excluded, strain, rung)
  local wanted, hole = r.requested or rung, hole_for_others(pool, r)
  local offset = 0
  while true do
    local names = redis.call('ZRANGEBYSCORE', free_key(pool), text(cost), '+inf', 'LIMIT', offset, SCANNED_AT_ONCE)
    for _, name in ipairs(names) do
      local w = candidate(name)
      local keeps = (rung >= wanted or w.ceilings) and (rung ~= HALVED or w.halves)
      local is_kept = hole and hole.worker == name
      local may_serve = keeps and not excluded[name] and not is_kept and w.is_fresh and reads(r.format, w.oldest, w.newest)
      if may_serve and w.strain <= strain then return name end
    end
    if #names < SCANNED_AT_ONCE then return nil end
    offset = offset + SCANNED_AT_ONCE
  end
end

-- The worker and the choice at this rung among those of that strain at most; nil and the reason if there is none.
local function choose_at(r, choices, rung, excluded, may_use_reserve, strain)
  local reasons = {}
  for _, choice in ipairs(choices) do
    local cost = cost_at(r, choice, rung)
    local worker = cost and fullest(choice.pool, cost, r, excluded, strain, rung)
    if worker and (may_use_reserve or not breaks_reserve(choice.pool, cost)) then return worker, choice end
    local hole = hole_for_others(choice.pool, r)
    reasons[#reasons + 1] = worker and 'what pool ' .. choice.pool .. ' has left is kept for moves'
      or 'no worker of pool ' .. choice.pool .. ' has ' .. text(cost or 0) .. ' thousandths free'
        .. (hole and ' beside what ' .. hole.worker .. ' keeps for ' .. hole.session .. ', which waits longer' or '')
  end
  return nil, #reasons > 0 and table.concat(reasons, '; ') or 'the session has no pool'
end

-- What the last claim paid for; nil where nobody knows.
local function last_granted(r) return r.granted_epoch == r.epoch and r.granted and rung_of(r.granted, r.every) or nil end

-- From what is wanted down to the lowest rung that a claim may have; a record of the release before wants it at any.
local function rungs_from(wanted, lowest, and_halved)
  local rungs = {}
  for rung = wanted or 1, math.min(wanted or 1, lowest or math.huge), -1 do rungs[#rungs + 1] = rung end
  if wanted and and_halved then rungs[#rungs + 1] = HALVED end
  return rungs
end

-- A session that has no worker gets a lower level rather than none, as far as its spec allows; or what its last claim paid
-- for, where that is less.
local function rungs_to_go_on(r)
  local last = had_worker(r) and last_granted(r) or HALVED
  local lowest = math.min(r.min_steps or math.huge, last == HALVED and math.huge or last)
  return rungs_from(r.requested, lowest, r.min_steps)
end

-- A polite move takes nothing away that the session has.
local function rungs_to_keep(r)
  local last = last_granted(r)
  if last ~= HALVED then return rungs_from(r.requested, last) end
  return rungs_from(r.requested, r.min_steps, true)
end

-- The worker, the choice and the rung for a session: the first of these rungs that somebody has room for. A worker that
-- is strained gets a session only if no other one has room, of whatever pool. One that is overloaded gets a session that
-- had a worker before, and no new one: `overloaded` is true where that is all that stands in the way.
local function choose_among(r, choices, rungs, excluded, may_use_reserve)
  local why
  for strain = ON_TIME, OVERLOADED do
    for _, rung in ipairs(rungs) do
      local worker, choice = choose_at(r, choices, rung, excluded, may_use_reserve, strain)
      if worker and strain == OVERLOADED and not had_worker(r) then return {overloaded = true} end
      if worker then return {worker = worker, choice = choice, rung = rung} end
      why = why or choice
    end
  end
  return {reason = why}
end

-- Where claims and moves look: the pools of the session's own model, or of the one that stands in for it. Where its spec
-- allows that one no longer, its own again.
local function choices_of(r)
  local found = {}
  for _, choice in ipairs(r.stand_in and stand_in_choices(r) or {}) do
    if choice.model == r.stand_in then found[#found + 1] = choice end
  end
  return #found > 0 and found or own_choices(r)
end

-- A live session never changes its model: nothing that it has made could be kept.
local function may_stand_in(r) return not had_worker(r) and r.format == 0 and not r.stand_in end

-- As `choose_among`, of all that may serve the session: another model only where its own has no room at any level.
local function choose(r, rungs, excluded, may_use_reserve)
  local found = choose_among(r, choices_of(r), rungs, excluded, may_use_reserve)
  if found.worker or not may_stand_in(r) then return found end
  local other = choose_among(r, stand_in_choices(r), rungs, excluded, may_use_reserve)
  return other.worker and other or found
end

-- The least that a session could have of a worker of that pool.
local function least_cost(r, choice, rungs)
  for i = #rungs, 1, -1 do
    local cost = cost_at(r, choice, rungs[i])
    if cost then return cost, rungs[i] end
  end
end

-- The worker of a pool that has the most room, of those on which the session could ever have so much. None where one has
-- enough: then something else stands in the way.
local function roomiest(choice, r, cost, rung)
  local at = redis.call('ZREVRANGE', free_key(choice.pool), 0, SCANNED_AT_ONCE - 1, 'WITHSCORES')
  for i = 1, #at, 2 do
    local w, capacity = candidate(at[i]), tonumber(redis.call('HGET', worker_key(at[i]), 'capacity'))
    local keeps = (rung >= (r.requested or rung) or w.ceilings) and (rung ~= HALVED or w.halves)
    local may_serve = keeps and w.is_fresh and reads(r.format, w.oldest, w.newest)
    if may_serve and (w.strain < OVERLOADED or had_worker(r)) and capacity >= cost then
      return tonumber(at[i + 1]) < cost and at[i] or nil
    end
  end
end

-- A session that wants much could wait for ever behind small ones: each takes what comes up before it is enough. So who
-- waits longest has the room of one worker kept: of the one that has the most now. Whoever waits in several pools has it in
-- one of them at a time, in the cheapest first.
local function keep_hole(session, r)
  local rungs, all = rungs_to_go_on(r), {}
  for _, choices in ipairs({choices_of(r), may_stand_in(r) and stand_in_choices(r) or nil}) do
    for _, choice in ipairs(choices) do all[#all + 1] = choice end
  end
  local last_in = {}
  for _, choice in ipairs(all) do
    local last = hole_in(choice.pool)
    if last and last.holds and last.session == session then return end
    last_in[choice.pool] = last
  end
  for _, choice in ipairs(all) do
    local since_ms = tonumber(redis.call('ZSCORE', waiting_key(choice.pool), session))
    local has_waited = since_ms and now - since_ms >= HOLE_AFTER_MS and first_waiting(choice.pool) == session
    local last = last_in[choice.pool]
    local is_paused = last and last.is_there and 0 <= last.age_ms and last.age_ms < HOLE_KEPT_MS + HOLE_PAUSE_MS
    if has_waited and not is_paused then
      local cost, rung = least_cost(r, choice, rungs)
      local worker = cost and roomiest(choice, r, cost, rung)
      -- Who asks is told that there is no room, also where Redis takes no writes.
      if worker then
        redis.pcall('HSET', hole_key(choice.pool), 'session', session, 'worker', worker, 'since_ms', text(now))
        return
      end
    end
  end
end

-- The session changes hands, to the worker that was chosen.
local function give_chosen(session, r, chosen, epoch, cause)
  local choice, rung = chosen.choice, chosen.rung
  local level = choice.levels and r.requested and level_at(choice, rung) or nil
  if choice.model then
    redis.call('HSET', record_key(session), 'model', choice.model)
  elseif r.stand_in then
    redis.call('HDEL', record_key(session), 'model')
  end
  give(session, r, chosen.worker, cost_at(r, choice, rung), epoch, cause, level)
end

