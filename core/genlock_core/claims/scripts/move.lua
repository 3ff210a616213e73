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

local function choose_for_move()
  local excluded = {[suspect] = true}
  if r.owner then excluded[r.owner] = true end
  if at_least then return choose(r, rungs_from(at_least, at_least), excluded, true) end
  return choose(r, polite and rungs_to_keep(r) or rungs_to_go_on(r), excluded, true)
end

-- The owner that an older replica tells of had the session before the caller's claim, and may have it again.
local has_it_again = went_back and r.owner and r.owner ~= suspect
  and is_fresh(redis.call('HGET', worker_key(r.owner), 'heartbeat_ms'))

local chosen = not has_it_again and choose_for_move()
if chosen and not chosen.worker then
  -- Others are lowered for who waits: for one whose worker is lost or leaves, not for a person's wish to move it.
  if cause ~= 'requested' then note_waiting(session, r) end
  if chosen.overloaded then return {'overloaded'} end
  return {'full', chosen.reason}
end

local epoch, worker = next_epoch(r), chosen and chosen.worker or r.owner
local choice, cost = choice_in(r, r.pool), r.cost
local level = choice and choice.levels and level_of(r, choice)
take_away(session, r, cause, epoch, redis.call('HGET', worker_key(worker), 'address'))
if chosen then
  give_chosen(session, r, chosen, epoch, cause)
else
  give(session, r, worker, cost, epoch, cause, level)
end
event('moved', session, epoch, worker)
set_phase(session, r, polite and 'Draining' or 'Recovering', cause)
return {'won', claim_of(r)}
