-- create(session, fields as JSON) -> {1 if it is new}
local session, fields = ARGV[2], cjson.decode(ARGV[3])
local r = read(session)
if r then
  if fields.pools ~= r.pools or fields.stand_ins ~= r.stand_ins then end_waiting(session, r) end  -- it asks anew, there
  local before = redis.call('HMGET', record_key(session), 'spec', 'origins', 'shape')
  redis.call('HSET', record_key(session), 'spec', fields.spec, 'pools', fields.pools, 'key_ids', fields.key_ids,
    'stand_ins', fields.stand_ins, 'origins', fields.origins, 'shape', fields.shape, 'steps', fields.steps,
    'min_steps', fields.min_steps, 'idle_timeout_ms', fields.idle_timeout_ms, 'ttl_ms', fields.ttl_ms)
  if is_finished(r.phase) then
    redis.call('ZINCRBY', FINISHED, text(tonumber(fields.ttl_ms) - r.ttl_ms), session)
  else
    redis.call('ZADD', IDLE, text(r.active_ms + tonumber(fields.idle_timeout_ms)), session)
  end
  -- Whoever keeps the record reads it anew: who may watch is part of the spec.
  if before[1] ~= fields.spec or before[2] ~= fields.origins or before[3] ~= fields.shape then
    event('phase', session, r.epoch, r.phase)
  end
  return {0}
end
-- An epoch in the record is that of a session which Redis lost: it had an owner once, and epochs go on from there.
fields.phase = tonumber(fields.epoch) > 0 and 'Recovering' or 'Pending'
fields.reason, fields.created_ms, fields.active_ms, fields.finished_ms = '', text(now), text(now), '0'
write_record(session, fields)
return {1}
