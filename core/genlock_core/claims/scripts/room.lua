-- room(session) -> {workers that could serve it, 1 if one has room, ms until an idle session gives its place back or '',
--   1 if what has room is overloaded, ms until a worker that starts is expected or ''}
-- Nothing changes. A session in use is touched every few seconds, so one that is not is idle.
local IN_USE_MS = 15000
local r = read(ARGV[2])
if not r then return {} end

local pools, workers = {}, 0
for _, choices in ipairs({choices_of(r), may_stand_in(r) and stand_in_choices(r) or nil}) do
  for _, choice in ipairs(choices) do
    pools[choice.pool] = true
    for _, name in ipairs(redis.call('ZRANGE', free_key(choice.pool), 0, -1)) do
      if is_fresh(redis.call('HGET', worker_key(name), 'heartbeat_ms')) then workers = workers + 1 end
    end
  end
end

local found = choose(r, rungs_to_go_on(r), {}, false)
if found.worker then return {workers, 1, '', 0, ''} end
if found.overloaded then return {workers, 0, '', 1, ''} end

local expected
for pool in pairs(pools) do
  local worker_ms = tonumber(redis.call('HGET', P .. 'pool:' .. pool .. ':settings', 'worker_ms'))
  if worker_ms and worker_ms > now then expected = math.min(expected or worker_ms, worker_ms) end
end
local expected_in = expected and text(expected - now) or ''

local due = redis.call('ZRANGE', IDLE, 0, SCANNED_AT_ONCE - 1, 'WITHSCORES')
for i = 1, #due, 2 do
  local other = read(due[i])
  if other and other.owner and pools[other.pool] and now - other.active_ms > IN_USE_MS then
    return {workers, 0, text(math.max(0, tonumber(due[i + 1]) - now)), 0, expected_in}
  end
end
return {workers, 0, '', 0, expected_in}
