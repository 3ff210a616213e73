-- snapshot_deleted(session) -> {1 if its booking has ended}; one that lives on is its owner's to book
local r = read(ARGV[2])
if r and not is_finished(r.phase) then return {0} end
return {redis.call('HDEL', SNAPSHOTS, ARGV[2])}
