-- publisher_keep(session, key, gateway, resource, heard: ms ago, silent: '1' or '', highest run ever seen, its own run)
--   -> {1, run, 1 if somebody else wants the slot} | {0}
local session, key, gateway, resource, silent = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[7]
local highest_run, own_run = tonumber(ARGV[8]), tonumber(ARGV[9])
local slot = slot_of(session)
local run = slot.run
if slot.resource ~= resource then
  if slot.held then return {0} end
  run = hand_over(session, slot, key, gateway, resource, highest_run)  -- Redis had lost the slot
  -- Nobody has published since: it is the same publication. Under another number decoders would begin anew.
  if own_run > tonumber(slot.run) and own_run >= highest_run then
    run = text(own_run)
    redis.call('HSET', slot_key(session), 'run', run)
  end
end
redis.call('HSET', slot_key(session), 'heard_ms', text(now - tonumber(ARGV[6])),
  'expires_ms', text(now + PUBLISHER_TTL_MS))
keep_known(session, SLOT_KEPT_MS)
if silent == '1' then
  redis.call('HSET', slot_key(session), 'silent', run)
else
  redis.call('HDEL', slot_key(session), 'silent')
end
return {1, run, slot.contended and 1 or 0}
