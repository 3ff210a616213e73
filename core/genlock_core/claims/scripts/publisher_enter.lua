-- publisher_enter(session, key, gateway, resource, take over: '1' or '', since in ms or '')
--   -> {'candidate', run} | {'held', gateway, 1 if the holder was heard after `since`, now} | {'full'}
-- It only asks: the slot stays with its holder until publisher_promote.
local session, key, gateway, resource, take_over = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local since_ms = tonumber(ARGV[7]) or now
local slot = slot_of(session)
if slot.held and slot.key ~= key then contend(session) end
if not may_have(slot, key, take_over) then
  -- `since` may be read off a time that is PROOF_EVERY_MS old: a sign of life so near may be from before the question.
  return {'held', slot.gateway, slot.heard_ms > since_ms + PROOF_EVERY_MS and 1 or 0, text(now)}
end

-- Whoever had the slot last has a place that nobody else can fill.
local strangers = 0
for other in pairs(candidates_of(session)) do
  if other ~= key and other ~= slot.key then strangers = strangers + 1 end
end
if key ~= slot.key and strangers >= PUBLISHER_CANDIDATES then return {'full'} end

redis.call('HSET', candidates_key(session), key, resource .. ' ' .. text(now + PUBLISHER_CANDIDATE_MS))
keep_known(session, PUBLISHER_CANDIDATE_MS)
return {'candidate', slot.run}
