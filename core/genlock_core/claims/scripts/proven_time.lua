-- Proven time, the only time by which anything is taken away. It stands before every script.
-- It passes while Redis takes writes. Each script writes down that it was here, and adds what has passed by Redis'
-- clock since the script before: PROOF_MS at most, and nothing where the clock went back. So nothing runs out while
-- Redis is full, read-only or stalled, and a clock that steps by an hour is no more than a moment.
-- KEYS[1] is the key prefix with the tag {genlock}: every name starts with it, so all lie in one slot.
-- ARGV[1] is the time in ms, or '' for Redis' own. The figures (LEASE_MS ...) stand in front of this file.

local P = KEYS[1]
local CLOCK, GUARD = P .. 'clock', P .. 'guard'

local wall = tonumber(ARGV[1])
if not wall then
  local time = redis.call('TIME')
  wall = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function text(number) return string.format('%.0f', number + 0) end  -- + 0: never '-0'

-- What has passed since `seen`. What was left out is made up for slowly, so that proven time comes back to Redis' own:
-- a release that knows only that one finds the same figures.
local function with_passed(proven, seen)
  local passed = math.max(0, math.min(wall - seen, PROOF_MS))
  local most = math.floor(passed / CATCHES_UP_IN)
  local behind = wall - (proven + passed)
  return proven + passed + math.max(-most, math.min(most, behind))
end

-- Nobody could write for a while. Workers get time to connect again before anything moves by lease.
local function settle(proven)
  local since = tonumber(redis.call('HGET', GUARD, 'since_ms'))
  if since then
    redis.call('HSET', GUARD, 'since_ms', text(math.max(since, proven - HOLD_MS + SETTLE_MS)))
  end
end

-- Proven time now, and whether Redis takes writes. `mixed`: see `is_mixed`.
local function prove()
  local known = redis.call('HMGET', CLOCK, 'proven_ms', 'seen_ms', 'mixed')
  local before, seen, mixed = tonumber(known[1]), tonumber(known[2]), known[3] == '1'
  if before and wall >= seen and wall - seen < PROOF_EVERY_MS then return before, true end

  local proven = (before and not mixed) and with_passed(before, seen) or wall
  local written = redis.pcall('HSET', CLOCK, 'proven_ms', text(proven), 'seen_ms', text(wall))
  if type(written) == 'table' and written.err then return before or wall, false end
  if before and (wall - seen > STALLED_MS or proven - before > STALLED_MS) then settle(proven) end
  return proven, true
end

local now, takes_writes = prove()

