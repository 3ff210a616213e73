-- take_over(epoch) -> {'stale', fence} | {'none'} | {'taken', epoch, chunk, head, {id, block, ...}}
local fence, meta, frames = KEYS[1], KEYS[2], KEYS[3]
local current = tonumber(redis.call('GET', fence) or '0')
if tonumber(ARGV[1]) < current then return {'stale', redis.call('GET', fence)} end
-- A full Redis refuses what may grow it, unless the script has written before: the HDEL needs no room. A dead worker's
-- successor could show nothing else, and the fence takes no more than the last owner's.
redis.pcall('HDEL', meta, '')
redis.call('SET', fence, ARGV[1])
local stored = redis.call('HMGET', meta, 'epoch', 'chunk', 'head')
if not stored[3] then return {'none'} end
return {'taken', stored[1], stored[2], stored[3], redis.call('HGETALL', frames)}
