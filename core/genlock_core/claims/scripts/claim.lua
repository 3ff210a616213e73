-- claim(session) -> {'claimed' | 'live', claim ...} | {'unknown' | 'ended'} | {'full', reason}
local session = ARGV[2]
local r = read(session)
if not r then return {'unknown'} end
if is_finished(r.phase) then return {'ended'} end
if r.owner and tonumber(redis.call('ZSCORE', LEASES, session)) <= now and not holding() then
  orphan(session, r, 'LeaseExpired')
end
if r.owner then return {'live', claim_of(r)} end

local worker, cost = choose(r, {}, false)
if not worker then return {'full', cost} end
give(session, r, worker, cost, next_epoch(r), '')
event('claimed', session, r.epoch, worker)
if r.phase == 'Pending' then set_phase(session, r, 'Assigned', '') end
return {'claimed', claim_of(r)}
