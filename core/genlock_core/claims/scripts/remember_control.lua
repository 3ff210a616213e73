-- remember_control(session, id, values as JSON) -> {1 if any field was older}
local session, id = ARGV[2], ARGV[3]
local r = read(session)
if not r then return {0} end

-- Ids of a stream are `ms-sequence`: two numbers, so text order is not their order.
local function is_newer(one, other)
  local ms, sequence = string.match(one, '^(%d+)-?(%d*)$')
  local other_ms, other_sequence = string.match(other, '^(%d+)-?(%d*)$')
  if ms ~= other_ms then return tonumber(ms) > tonumber(other_ms) end
  return (tonumber(sequence) or 0) > (tonumber(other_sequence) or 0)
end

local changed = false
for field, value in pairs(cjson.decode(ARGV[4])) do
  local known = redis.call('HGET', record_key(session), 'control_id:' .. field)
  if not known or is_newer(id, known) then
    redis.call('HSET', record_key(session), 'control:' .. field, value, 'control_id:' .. field, id)
    changed = true
  end
end
if changed then event('control', session, r.epoch, id) end
return {changed and 1 or 0}
