-- The publisher slot of a session, and who wants it; stands before each script named publisher_*.
-- Slot: hash `publisher:<session>`. `key` outlives the stay (its next connection has a place of its own), `run` only
-- grows, `silent` is the run of a holder that no longer answers. Candidates: hash key -> 'resource expires_ms'.
-- No key here has a time to live: that would run by Redis' clock. `expire` forgets slots by the index PUBLICATIONS.
local SLOT_KEPT_MS = 3600000

-- The slot is known for so long from now, at least. A gateway of the release before gave it a time to live.
local function keep_known(session, kept_ms)
  redis.call('ZADD', PUBLICATIONS, 'GT', text(now + kept_ms), session)
  redis.call('PERSIST', slot_key(session))
  redis.call('PERSIST', candidates_key(session))
end

local function slot_of(session)
  local s = redis.call('HMGET', slot_key(session), 'key', 'gateway', 'resource', 'run', 'expires_ms', 'silent',
    'heard_ms', 'previous', 'contended_ms')
  local up = s[2] and tonumber(redis.call('ZSCORE', GATEWAYS, s[2]) or 0) > now
  return {key = s[1], gateway = s[2], resource = s[3], run = s[4] or '0', previous = s[8] or '',
    held = up and s[3] and tonumber(s[5] or 0) > now, silent = s[6] and s[6] == s[4],
    heard_ms = tonumber(s[7] or 0), contended = tonumber(s[9] or 0) > now}
end

-- May this key have the slot? The same publisher always; another one if nobody holds it, if its holder is silent, or
-- if it asks to take over.
local function may_have(slot, key, take_over)
  return not slot.held or slot.key == key or slot.silent or take_over == '1'
end

local function contend(session)
  redis.call('HSET', slot_key(session), 'contended_ms', text(now + PUBLISHER_CANDIDATE_MS))
end

-- The slot is that resource's from now on, under a new run: above any that the caller has seen, too, as Redis may have
-- lost the last one while its clock went back.
local function hand_over(session, slot, key, gateway, resource, highest_run)
  local run = text(math.max(tonumber(slot.run) + 1, tonumber(highest_run) + 1, now, wall))
  local previous = slot.held and cjson.encode({slot.gateway, slot.resource, slot.run}) or ''
  redis.call('HDEL', slot_key(session), 'silent', 'contended_ms')
  redis.call('HSET', slot_key(session), 'key', key, 'gateway', gateway, 'resource', resource, 'run', run,
    'previous', previous, 'heard_ms', text(now), 'expires_ms', text(now + PUBLISHER_TTL_MS))
  keep_known(session, SLOT_KEPT_MS)
  return run, previous
end

-- key -> resource; those whose time is over are gone.
local function candidates_of(session)
  local flat, found = redis.call('HGETALL', candidates_key(session)), {}
  for i = 1, #flat, 2 do
    local resource, expires_ms = string.match(flat[i + 1], '^(%S+) (%d+)$')
    if tonumber(expires_ms) > now then
      found[flat[i]] = resource
    else
      redis.call('HDEL', candidates_key(session), flat[i])
    end
  end
  return found
end
