-- decide(pool, holder, rank) -> {1 if the holder decides on the levels of that pool}
-- A lease in proven time. Of two that want it the lower rank has it; of the same rank whoever has it already. It keeps
-- deciders from working against each other; each of their changes is safe without it.
local key, holder, rank = levelling_key(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local held = redis.call('HMGET', key, 'holder', 'rank', 'until_ms')
local left_ms = held[1] and tonumber(held[3]) - now or 0
local holds = 0 < left_ms and left_ms <= DECIDES_MS  -- more: Redis went back to an earlier time
if holds and held[1] ~= holder and tonumber(held[2]) <= rank then return {0} end
redis.call('HSET', key, 'holder', holder, 'rank', text(rank), 'until_ms', text(now + DECIDES_MS))
return {1}
