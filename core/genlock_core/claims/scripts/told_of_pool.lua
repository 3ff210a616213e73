-- told_of_pool(pool, part) -> {text} | {}
local told = redis.call('HMGET', P .. 'pool:' .. ARGV[2] .. ':told', ARGV[3], ARGV[3] .. ':until_ms')
if not told[1] or tonumber(told[2]) < now then return {} end
return {told[1]}
