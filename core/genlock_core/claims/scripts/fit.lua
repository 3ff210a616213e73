-- fit(session, expected epoch) -> {'fits' | 'no-room' | 'elsewhere' | 'stale' | 'unknown' | 'ended'}
local session, expected = ARGV[2], tonumber(ARGV[3])
local r = read(session)
if not r then return {'unknown'} end
if is_finished(r.phase) then return {'ended'} end
if not r.owner or r.epoch ~= expected then return {'stale'} end
for _, choice in ipairs(cjson.decode(r.pools)) do
  if choice.pool == r.pool then
    local more = choice.cost - r.cost
    if more == 0 then return {'fits'} end
    if more > tonumber(redis.call('HGET', worker_key(r.owner), 'free')) then return {'no-room'} end
    add_free(r.owner, -more)
    redis.call('HSET', record_key(session), 'cost', text(choice.cost))
    redis.call('HSET', owned_key(r.owner), session, text(r.epoch) .. ':' .. text(choice.cost))
    return {'fits'}
  end
end
return {'elsewhere'}
