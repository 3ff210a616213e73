-- claim(session, highest epoch that the caller has seen)
--   -> {'claimed' | 'live', claim ...} | {'unknown' | 'ended' | 'held' | 'overloaded'} | {'full', reason}
local session, seen = ARGV[2], tonumber(ARGV[3])
local r = read(session)
if not r then return {'unknown'} end
if is_finished(r.phase) then return {'ended'} end

-- An owner that an older replica tells of has lost the session to somebody who may be about to reassert it.
local went_back = r.epoch < seen
if r.owner and went_back and holding() then return {'held'} end
note_epoch(session, r, seen)
if r.owner and went_back then
  orphan(session, r, 'StoreWentBack')
elseif r.owner and tonumber(redis.call('ZSCORE', LEASES, session)) <= now and not holding() then
  orphan(session, r, 'LeaseExpired')
end
if r.owner then return {'live', claim_of(r)} end

local worker, cost, steps, overloaded = choose(r, {}, false, r.requested, lowest_for_recovery(r))
if overloaded then return {'overloaded'} end
if not worker then return {'full', cost} end
give(session, r, worker, cost, next_epoch(r), '', steps)
event('claimed', session, r.epoch, worker)
if r.phase == 'Pending' then set_phase(session, r, 'Assigned', '') end
return {'claimed', claim_of(r)}
