-- publisher_leave(session, resource) -> {1 if the slot was that resource's}
-- It is no candidate any more, either. `key` and `run` stay.
local session, resource = ARGV[2], ARGV[3]
for key, candidate in pairs(candidates_of(session)) do
  if candidate == resource then redis.call('HDEL', candidates_key(session), key) end
end
if slot_of(session).resource ~= resource then return {0} end
redis.call('HDEL', slot_key(session), 'gateway', 'resource', 'previous', 'expires_ms', 'silent', 'heard_ms',
  'contended_ms')
return {1}
