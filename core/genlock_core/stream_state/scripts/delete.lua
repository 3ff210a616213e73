-- delete(how long the fence is kept, ms): the last owner, who may not know yet, writes nothing after this
local fence, meta, frames = KEYS[1], KEYS[2], KEYS[3]
redis.call('DEL', meta, frames)
if redis.call('PTTL', fence) == -1 then redis.call('INCR', fence) end  -- once: a later deletion finds its end set
redis.call('PEXPIRE', fence, ARGV[1])
return {'deleted'}
