-- How many bytes the snapshot of each session may hold. They are booked in one hash (session -> bytes), as the snapshots
-- themselves lie in other slots. A booking is the session's and not its worker's: it stays when the worker dies, goes with
-- the session to the next one, and ends when the snapshot has been deleted.
-- Always true: a booking is at least what is stored, and none is raised beyond the budget for what is not stored yet;
-- `:booked` is their sum, so that nobody has to add up thousands of sessions.

local SNAPSHOTS, BOOKED, SNAPSHOT_BUDGET = P .. 'snapshots', P .. 'snapshots:booked', P .. 'snapshots:budget'
local SHARE_OF_STORE = 0.5
local BYTES_WITHOUT_LIMIT = 1073741824
local LOOKED_AT_ONCE = 3

-- All snapshots together, in bytes. In a cluster they may all lie on one node, so the room of one is what counts.
local function snapshot_budget()
  local told = redis.call('GET', SNAPSHOT_BUDGET)
  if told then return tonumber(told) end
  local room = tonumber(string.match(redis.call('INFO', 'memory'), 'maxmemory:(%d+)') or 0)
  return room > 0 and math.floor(room * SHARE_OF_STORE) or BYTES_WITHOUT_LIMIT
end

local function booked_for(session) return tonumber(redis.call('HGET', SNAPSHOTS, session) or 0) end

local function booked_in_all() return tonumber(redis.call('GET', BOOKED) or 0) end

-- The only step that changes a booking.
local function book(session, bytes)
  local more = bytes - booked_for(session)
  if bytes > 0 then redis.call('HSET', SNAPSHOTS, session, text(bytes)) else redis.call('HDEL', SNAPSHOTS, session) end
  redis.call('INCRBY', BOOKED, text(more))
end

-- Who deletes a snapshot ends its booking. This finds those that a gateway of an older release deleted, a few at a time.
local function end_lost_bookings()
  for _, session in ipairs(redis.call('HRANDFIELD', SNAPSHOTS, LOOKED_AT_ONCE)) do
    if redis.call('EXISTS', record_key(session)) == 0 then book(session, 0) end
  end
end

-- What a session gets that has `has`, where the others have `others`. It holds <= needs <= wants.
local function grant(has, others, budget, holds, needs, wants)
  if others + wants <= budget then return wants end
  if has >= needs then return math.min(has, wants) end
  if others + needs <= budget then return needs end
  return holds  -- the rest would be of no use to it, and is to others
end

-- Books what a worker asks for ({session: [epoch, holds, needs, wants]}), for those that it owns ({session, epoch, ...}).
-- Returns {session, bytes, ...}.
local function book_snapshots(owned, asked)
  local granted, budget = {}, nil
  for i = 1, #owned, 2 do
    local session, ask = owned[i], asked[owned[i]]
    if ask and text(ask[1]) == owned[i + 1] then
      local has = booked_for(session)
      local bytes = has
      if ask[4] ~= has then
        budget = budget or snapshot_budget()
        bytes = grant(has, booked_in_all() - has, budget, ask[2], ask[3], ask[4])
      end
      if bytes ~= has then book(session, bytes) end
      granted[#granted + 1] = session
      granted[#granted + 1] = text(bytes)
    end
  end
  end_lost_bookings()
  return granted
end

