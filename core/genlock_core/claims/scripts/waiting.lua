-- waiting(pool, limit) -> {{session, since ms, 1 if it had a worker, worker whose room is kept for it or ''}, ...}: who
-- found no room there lately, longest first
local pool, limit = ARGV[2], tonumber(ARGV[3])
local found, hole = {}, hole_in(pool)
for _, session in ipairs(redis.call('ZRANGE', waiting_key(pool), 0, -1)) do
  if is_waiting(session) then
    local since = redis.call('ZSCORE', waiting_key(pool), session)
    local epochs = redis.call('HMGET', record_key(session), 'epoch', 'seen_epoch')
    local had_worker = math.max(tonumber(epochs[1]), tonumber(epochs[2] or 0)) > 0
    local kept_at = hole and hole.holds and hole.session == session and hole.worker or ''
    found[#found + 1] = {session, text(since), had_worker and 1 or 0, kept_at}
    if #found == limit then break end
  else
    redis.call('ZREM', waiting_key(pool), session)
  end
end
return found
