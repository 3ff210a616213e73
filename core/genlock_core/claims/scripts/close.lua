-- close(name, incarnation) -> the sessions that it still owns
local name = ARGV[2]
local w = redis.call('HMGET', worker_key(name), 'incarnation', 'pool')
if w[1] ~= ARGV[3] then return {} end
close(name, w[2])
local left = redis.call('HKEYS', owned_key(name))
table.sort(left)
return left
