-- orientation(session, epoch, run, orientation) -> {orientation or '', run}: what is settled now, by whomever
-- It is settled once for each publication, by the owner. Whoever comes second, or is not the owner any more, is told.
local r = read(ARGV[2])
if not r then return {'', '0'} end
local key = record_key(ARGV[2])
local settled = redis.call('HMGET', key, 'orientation', 'orientation_run')
local run = tonumber(settled[2] or '0')
if r.owner and r.epoch == tonumber(ARGV[3]) and tonumber(ARGV[4]) > run then
  redis.call('HSET', key, 'orientation', ARGV[5], 'orientation_run', ARGV[4])
  return {ARGV[5], ARGV[4]}
end
return {settled[1] or '', text(run)}
