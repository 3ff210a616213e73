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

-- Packed order: of the workers with room the one with the least; by name among equals. `strain`: the most it may have.
local function fullest(pool, cost, format, excluded, strain)
  local offset = 0
  while true do
    local names = redis.call('ZRANGEBYSCORE', free_key(pool), text(cost), '+inf', 'LIMIT', offset, SCANNED_AT_ONCE)
    for _, name in ipairs(names) do
      local w = redis.call('HMGET', worker_key(name), 'heartbeat_ms', 'oldest', 'newest', 'late_ms', 'overloaded')
      local may_serve = not excluded[name] and is_fresh(w[1]) and reads(format, w[2], w[3])
      if may_serve and strain_of(name, w[4], w[5]) <= strain then return name end
    end
    if #names < SCANNED_AT_ONCE then return nil end
    offset = offset + SCANNED_AT_ONCE
  end
end

-- The worker and the cost at these steps among those of that strain at most; nil and the reason if there is none.
local function choose_at(r, choices, steps, excluded, may_use_reserve, strain)
  local reasons = {}
  for _, choice in ipairs(choices) do
    local cost = cost_at(choice, steps)
    local worker = fullest(choice.pool, cost, r.format, excluded, strain)
    if worker and (may_use_reserve or not breaks_reserve(choice.pool, cost)) then return worker, cost, choice.levels end
    reasons[#reasons + 1] = worker and 'what pool ' .. choice.pool .. ' has left is kept for moves'
      or 'no worker of pool ' .. choice.pool .. ' has ' .. text(cost) .. ' thousandths free'
  end
  return nil, #reasons > 0 and table.concat(reasons, '; ') or 'the session has no pool'
end

-- Had it a worker before? A record of an older replica does not say so; the epochs that somebody has seen do.
local function had_worker(r) return math.max(r.epoch, r.seen_epoch) > 0 end

-- The worker, the cost and the steps for a session: `wanted` ones, else fewer, down to `lowest`. A worker that is strained
-- gets a session only if no other one has room, of whatever pool. One that is overloaded gets a session that had a worker
-- before, and no new one: the fourth answer is true where that is all that stands in the way. Nil and the reason if none.
local function choose(r, excluded, may_use_reserve, wanted, lowest)
  local choices, top = cjson.decode(r.pools), wanted or 1
  local why
  for strain = ON_TIME, OVERLOADED do
    for steps = top, math.min(top, lowest or top), -1 do
      local worker, cost, levels = choose_at(r, choices, steps, excluded, may_use_reserve, strain)
      if worker and strain == OVERLOADED and not had_worker(r) then return nil, nil, nil, true end
      if worker then return worker, cost, levels and wanted and math.min(steps, #levels), false end
      if steps == top then why = cost end
    end
  end
  return nil, why, nil, false
end

-- What the last claim paid for; nil where nobody knows.
local function last_granted(r) return r.granted_epoch == r.epoch and r.granted or nil end

-- A session that lost its worker goes on with fewer steps rather than not at all, as far as its spec allows. One that
-- was never served waits for what it asks for.
local function lowest_for_recovery(r)
  if not had_worker(r) then return nil end
  local lowest = math.min(r.min_steps or math.huge, last_granted(r) or math.huge)
  return lowest < math.huge and lowest or nil
end

