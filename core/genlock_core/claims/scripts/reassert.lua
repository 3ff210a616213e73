-- reassert(offer as JSON, held as JSON, closed) -> {{kept}, {refused}}
local offer, held, closed = cjson.decode(ARGV[2]), cjson.decode(ARGV[3]), ARGV[4] == '1'
local name = offer.name
local known = redis.call('HGET', worker_key(name), 'incarnation')
local kept, refused = {}, {}
holding()  -- whoever reasserts saw Redis come back: the time in which nothing moves by lease starts no later than now

if known and known ~= offer.incarnation then
  for _, one in ipairs(held) do refused[#refused + 1] = one.session end
  return {kept, refused}
end
if not known then enroll(offer) end
if closed then close(name, offer.pool) end

-- May the worker have it back? Another one's claim of a higher epoch stands; so does an end.
local function is_rightful(r, epoch)
  if is_finished(r.phase) then return false end
  return epoch > r.epoch or epoch == r.epoch and not r.owner
end

local function room_for(r)
  local free = tonumber(redis.call('HGET', worker_key(name), 'free'))
  return r.owner == name and free + r.cost or free
end

-- The level that the worker knows its cost to pay for; nil where it knows none.
local function granted_in(one)
  local fields = one.record
  if not fields.granted or tonumber(fields.granted_epoch) ~= tonumber(one.epoch) then return nil end
  return {steps = tonumber(fields.granted), every = fields.granted_half == fields.granted_number and 2 or 1}
end

-- What the plan allowed the claim, and since when it has been below its request, come back with it. A plan that was made
-- of this claim since then counts.
local function restore_level(session, r, one)
  local below_ms = tonumber(one.record.below_ms)
  if below_ms and not r.below_ms then
    r.below_ms = below_ms
    redis.call('HSET', record_key(session), 'below_ms', text(below_ms))
  end
  local is_of = r.limit and string.match(r.limit, '^(%d+) ')
  if one.record.limit and is_of ~= one.epoch then
    redis.call('HSET', record_key(session), 'limit', one.record.limit)
  end
end

for _, one in ipairs(held) do
  local session, epoch, phase = one.session, tonumber(one.epoch), one.record.phase
  local r = read(session)
  if not r then
    local fields = one.record
    fields.epoch, fields.phase, fields.reason, fields.finished_ms = one.epoch, 'Recovering', '', '0'
    fields.active_ms = text(now)
    write_record(session, fields)
    r = read(session)
  end
  if r.owner == name and r.epoch == epoch then
    kept[#kept + 1] = session
  elseif is_rightful(r, epoch) and room_for(r) >= one.cost then
    take_away(session, r, '', epoch, offer.address)
    r.granted_number = math.max(r.granted_number, tonumber(one.record.granted_number or 0))
    restore_level(session, r, one)
    give(session, r, name, one.cost, epoch, '', granted_in(one))
    event('claimed', session, epoch, name)
    set_phase(session, r, phase, '')
    kept[#kept + 1] = session
  else
    refused[#refused + 1] = session
  end
end
return {kept, refused}
