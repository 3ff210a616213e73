-- grant(session, steps that are about to be requested or '', expected epoch or '')
--   -> {'fits' | 'no-room' | 'refused' | 'elsewhere' | 'stale' | 'unknown' | 'ended', steps granted or ''}
-- All that raises what a session costs while it is served comes here: users' wishes before they are written down, the
-- operator's after it has changed the record. `no-room`: it got what there was, and the rest waits. `refused`: its worker
-- knows no ceilings and would run what it cannot pay for, so nothing has changed and nothing must be written.
local session, wish, expected = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local r = read(session)
if not r then return {'unknown', ''} end
if is_finished(r.phase) then return {'ended', ''} end
if not r.owner or expected and r.epoch ~= expected then return {'stale', ''} end
local levels, choice = levels_in(r, r.pool)
if not choice then return {'elsewhere', ''} end

-- A record of the release before: it pays what the record says, whatever the steps.
local wanted = wish or r.requested
if not levels or not wanted then
  if wish then return {'fits', ''} end
  if not can_pay(r, choice.cost, true) then return {'no-room', ''} end
  pay(session, r, choice.cost)
  return {'fits', ''}
end

wanted = math.min(wanted, #levels)
local may_use_reserve = not wish
if wish and not knows_ceilings(r.owner) and affordable(r, levels, wanted, may_use_reserve) < wanted then
  return {'refused', text(granted_of(r, levels))}
end
raise(session, r, levels, wanted, may_use_reserve)
local has_all = r.granted >= wanted and r.cost >= levels[wanted]
return {has_all and 'fits' or 'no-room', text(r.granted)}
