-- move(session, expected epoch, suspect or '', cause)
--   -> {'won' | 'lost', claim ...} | {'unknown' | 'ended' | 'held'} | {'stale', epoch} | {'full', reason}
local session, expected, suspect, cause = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local r = read(session)
if not r then return {'unknown'} end
if is_finished(r.phase) then return {'ended'} end
if r.epoch ~= expected then
  if r.owner then return {'lost', claim_of(r)} end
  return {'stale', text(r.epoch)}
end
if (cause == 'silent' or cause == 'expired') and holding() then return {'held'} end
if cause == 'expired' and r.owner and tonumber(redis.call('ZSCORE', LEASES, session)) > now then
  return {'lost', claim_of(r)}
end

local excluded = {[suspect] = true}
if r.owner then excluded[r.owner] = true end
local worker, cost = choose(r, excluded, true)
if not worker then return {'full', cost} end
local epoch = next_epoch(r)
take_away(session, r, cause, epoch, redis.call('HGET', worker_key(worker), 'address'))
give(session, r, worker, cost, epoch, cause)
event('moved', session, epoch, worker)
local polite = cause == 'drain' or cause == 'requested'
set_phase(session, r, polite and 'Draining' or 'Recovering', cause)
return {'won', claim_of(r)}
