-- publisher_promote(session, key, gateway, resource, take over: '1' or '', run seen, highest run ever seen)
--   -> {'promoted', run [, previous gateway, resource, run]} | {'lost', why}
-- The only script that moves a slot which somebody holds.
local session, key, gateway, resource, take_over = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local run_seen, highest_run = ARGV[7], ARGV[8]
local slot = slot_of(session)
local run, previous = slot.run, slot.previous
if not (slot.gateway == gateway and slot.resource == resource) then
  if slot.run ~= run_seen then return {'lost', slot.held and 'overtaken' or 'gone'} end
  if candidates_of(session)[key] ~= resource then return {'lost', 'replaced'} end
  if not may_have(slot, key, take_over) then return {'lost', 'answered'} end
  run, previous = hand_over(session, slot, key, gateway, resource, highest_run)
  redis.call('HDEL', candidates_key(session), key)
end
if previous == '' then return {'promoted', run} end
return {'promoted', run, unpack(cjson.decode(previous))}
