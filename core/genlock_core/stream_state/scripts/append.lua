-- append(name of the request, stream length, remembered requests, their age in ms, field, value, ...) -> id
-- The same request again is the first one's entry: a client may send it as often as it likes.
local stream, ids, recent = KEYS[1], KEYS[2], KEYS[3]
local known = redis.call('HGET', ids, ARGV[1])
if known then return known end

local entry = {}
for i = 5, #ARGV do entry[#entry + 1] = ARGV[i] end
local id = redis.call('XADD', stream, 'MAXLEN', '~', ARGV[2], '*', unpack(entry))

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('HSET', ids, ARGV[1], id)
redis.call('ZADD', recent, now, ARGV[1])
local function forget(names)
  for _, name in ipairs(names) do
    redis.call('HDEL', ids, name)
    redis.call('ZREM', recent, name)
  end
end
forget(redis.call('ZRANGEBYSCORE', recent, '-inf', now - tonumber(ARGV[4])))
forget(redis.call('ZRANGE', recent, 0, -tonumber(ARGV[3]) - 1))
return id
