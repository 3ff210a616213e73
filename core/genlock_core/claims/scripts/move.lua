-- move(session, expected epoch, suspect or '', cause, steps or '': it moves for their sake, and with no fewer)
--   -> {'won' | 'lost', claim ...} | {'unknown' | 'ended' | 'held' | 'overloaded'} | {'stale', epoch} | {'full', reason}
local session, expected, suspect, cause, at_least = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], tonumber(ARGV[6])
local r = read(session)
if not r then return {'unknown'} end
if is_finished(r.phase) then return {'ended'} end
if r.epoch > expected then
  if r.owner then return {'lost', claim_of(r)} end
  return {'stale', text(r.epoch)}
end

local polite = cause == 'drain' or cause == 'requested'

-- A new incarnation proves that the old one is dead, as a refused link does.
local by_lease = (cause == 'silent' or cause == 'expired') and (r.owner or r.reason ~= 'WorkerRestarted')
if by_lease and holding() then return {'held'} end
local went_back = r.epoch < expected
if cause == 'expired' and r.owner and not went_back and tonumber(redis.call('ZSCORE', LEASES, session)) > now then
  return {'lost', claim_of(r)}
end

note_epoch(session, r, expected)

-- The owner that an older replica tells of had the session before the caller's claim, and may have it again.
local worker, cost, steps, overloaded
if went_back and r.owner and r.owner ~= suspect and is_fresh(redis.call('HGET', worker_key(r.owner), 'heartbeat_ms')) then
  local levels = levels_in(r, r.pool)
  worker, cost, steps = r.owner, r.cost, levels and granted_of(r, levels)
else
  local excluded = {[suspect] = true}
  if r.owner then excluded[r.owner] = true end
  -- A polite move costs the session nothing that it has: it waits. One whose worker is lost takes what there is.
  local lowest = last_granted(r)
  if not polite then lowest = lowest_for_recovery(r) end
  worker, cost, steps, overloaded = choose(r, excluded, true, at_least or r.requested, at_least or lowest)
end
if overloaded then return {'overloaded'} end
if not worker then return {'full', cost} end

local epoch = next_epoch(r)
take_away(session, r, cause, epoch, redis.call('HGET', worker_key(worker), 'address'))
give(session, r, worker, cost, epoch, cause, steps)
event('moved', session, epoch, worker)
set_phase(session, r, polite and 'Draining' or 'Recovering', cause)
return {'won', claim_of(r)}
