-- touch(session) -> {1 if it is there and not finished}
local r = read(ARGV[2])
if not r or is_finished(r.phase) then return {0} end
redis.call('HSET', record_key(ARGV[2]), 'active_ms', text(now))
redis.call('ZADD', IDLE, text(now + r.idle_timeout_ms), ARGV[2])
return {1}
