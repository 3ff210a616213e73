-- discard(epoch) -> {'stale' | 'fence', fence} | {'discarded'}
local fence, meta, frames = KEYS[1], KEYS[2], KEYS[3]
local current = redis.call('GET', fence) or '0'
if tonumber(ARGV[1]) < tonumber(current) then return {'stale', current} end
if tonumber(ARGV[1]) > tonumber(current) then return {'fence', current} end
redis.call('DEL', meta, frames)
return {'discarded'}
