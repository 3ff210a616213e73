-- publisher_keep(session, key, gateway, resource, heard: ms ago, silent: '1' or '', highest run ever seen)
--   -> {1, run, 1 if somebody else wants the slot} | {0}
local session, key, gateway, resource, silent, highest_run = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[7], ARGV[8]
local slot = slot_of(session)
local run = slot.run
if slot.resource ~= resource then
  if slot.held then return {0} end
  run = hand_over(session, slot, key, gateway, resource, highest_run)  -- Redis had lost the slot
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
