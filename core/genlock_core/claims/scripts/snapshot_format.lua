-- snapshot_format(session, epoch, version) -> {1 if the epoch is that of the claim that holds}
local r = read(ARGV[2])
if not r or not r.owner or r.epoch ~= tonumber(ARGV[3]) then return {0} end
redis.call('HSET', record_key(ARGV[2]), 'snapshot_format', ARGV[4])
return {1}
