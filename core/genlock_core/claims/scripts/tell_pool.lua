-- tell_pool(pool, part, text, for how long it holds) -> {1}
-- What somebody has to tell of a pool, for people. It runs out in proven time; the key itself goes a while after the last
-- one who told anything, so that a pool that is gone leaves nothing.
local TOLD_KEPT_MS = 3600000
local pool, part = ARGV[2], ARGV[3]
local key = P .. 'pool:' .. pool .. ':told'
redis.call('HSET', key, part, ARGV[4], part .. ':until_ms', text(now + tonumber(ARGV[5])))
redis.call('PEXPIRE', key, TOLD_KEPT_MS)
return {1}
