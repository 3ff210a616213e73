-- write(epoch, chunk, max bytes, head, number kept, kept id ..., new id, new block, ...)
--   -> {'stale' | 'fence', fence} | {'old', chunk} | {'missing', id} | {'large', bytes} | {'written', bytes}
local fence, meta, frames = KEYS[1], KEYS[2], KEYS[3]
local epoch, chunk, head = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[4]
local current = redis.call('GET', fence) or '0'
if epoch < tonumber(current) then return {'stale', current} end
if epoch > tonumber(current) then return {'fence', current} end

local stored = redis.call('HMGET', meta, 'epoch', 'chunk', 'bytes')
-- The same chunk of the same owner may come again: the reply was lost, or it is written in another format.
local again = stored[2] and chunk == tonumber(stored[2]) and epoch == tonumber(stored[1])
if stored[2] and chunk <= tonumber(stored[2]) and not again then return {'old', stored[2]} end

local kept_until = 5 + tonumber(ARGV[5])
local bytes, stays = #head, {}
for i = 6, kept_until do
  if redis.call('HEXISTS', frames, ARGV[i]) == 0 then return {'missing', ARGV[i]} end
  if not stays[ARGV[i]] then bytes = bytes + redis.call('HSTRLEN', frames, ARGV[i]) end
  stays[ARGV[i]] = true
end
for i = kept_until + 1, #ARGV, 2 do bytes = bytes + #ARGV[i + 1] end
if bytes > tonumber(ARGV[3]) then return {'large', tostring(bytes)} end

for _, id in ipairs(redis.call('HKEYS', frames)) do
  if not stays[id] then redis.call('HDEL', frames, id) end
end
for i = kept_until + 1, #ARGV, 2 do redis.call('HSET', frames, ARGV[i], ARGV[i + 1]) end
redis.call('HSET', meta, 'epoch', ARGV[1], 'chunk', ARGV[2], 'head', head, 'bytes', bytes)
return {'written', tostring(bytes)}
