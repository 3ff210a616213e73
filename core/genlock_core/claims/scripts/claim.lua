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

local chosen = choose(r, rungs_to_go_on(r), {}, false)
if not chosen.worker then
  note_waiting(session, r)
  if chosen.overloaded then return {'overloaded'} end
  keep_hole(session, r)
  return {'full', chosen.reason}
end
if not had_worker(r) then
  count(r, chosen.choice.pool, 'arrivals')
  -- It was counted as turned away in the pool that it would like best.
  if redis.call('HEXISTS', record_key(session), 'blocked') == 1 then count(r, nil, 'relieved') end
end
give_chosen(session, r, chosen, next_epoch(r), '')
event('claimed', session, r.epoch, chosen.worker)
if r.phase == 'Pending' then set_phase(session, r, 'Assigned', '') end
return {'claimed', claim_of(r)}
