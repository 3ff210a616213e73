-- grant(session, steps that are about to be requested or '', expected epoch or '')
--   -> {'fits' | 'no-room' | 'refused' | 'elsewhere' | 'stale' | 'unknown' | 'ended', steps granted or '',
--       every how many-th frame of it}
-- All that raises what a session costs while it is served comes here: users' wishes before they are written down, the
-- operator's after it has changed the record. `no-room`: it got what there was, and the rest waits. `refused`: its worker
-- knows no ceilings and would run what it cannot pay for, so nothing has changed and nothing must be written.
local session, wish, expected = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local r = read(session)
if not r then return {'unknown', ''} end
if is_finished(r.phase) then return {'ended', ''} end
if not r.owner or expected and r.epoch ~= expected then return {'stale', ''} end
local choice = choice_in(r, r.pool)
if not choice then return {'elsewhere', ''} end

-- A record of the release before: it pays what the record says, whatever the steps.
local asked = wish or r.requested
if not choice.levels or not asked then
  if wish then return {'fits', ''} end
  if not can_pay(r, choice.cost, true) then return {'no-room', ''} end
  pay(session, r, choice.cost)
  return {'fits', ''}
end

local may_use_reserve = not wish
local wanted, all = allowed_of(r, choice, asked), math.min(asked, #choice.levels)
if wish then wanted = not_kept(r, choice, wanted) else all = wanted end
if wish and not knows_ceilings(r.owner) and affordable(r, choice, wanted, may_use_reserve) < all then
  return {'refused', text(granted_of(r, choice))}
end
raise(session, r, choice, wanted, may_use_reserve)

-- A user wants to know whether all is granted; a changed spec fits where all is that the plan allows.
local has_all = granted_of(r, choice) >= all and r.cost >= (cost_at(r, choice, all) or r.cost)
return {has_all and 'fits' or 'no-room', text(r.granted), text(r.every)}
