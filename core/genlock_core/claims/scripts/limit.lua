-- limit(session, epoch, number, steps or '': no limit any more, every) -> {'done' | 'stale' | 'no-room'}
-- The plan of levels allows the claim of that epoch so much. `stale`: what is granted has another number than the plan
-- knew, or the level is none that the session may have where it is; nothing has changed. Downwards what is granted
-- falls at once, and the claim gets cheaper when the worker has settled it. Upwards the claim pays first, as far as
-- there is room.
local session, epoch, number = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local steps, every = tonumber(ARGV[5]), tonumber(ARGV[6])
local r = read(session)
if not r or not r.owner or r.epoch ~= epoch then return {'stale'} end
if r.granted_epoch ~= epoch or r.granted_number ~= number then return {'stale'} end
local choice = choice_in(r, r.pool)
if not choice or not choice.levels or not r.requested or not knows_limits(r.owner) then return {'stale'} end

-- The spec may have changed since the plan was made, or a user the wish.
local function may_have()
  local rung = rung_of(steps, every)
  if rung == HALVED then return may_halve(r, choice) and steps == choice.half.steps and knows_halves(r.owner) end
  return rung >= lowest_full_rung(r, r.requested)
end
if steps and not may_have() then return {'stale'} end

-- Since when it is limited does not change with a plan that says the same again. `busy`: others need the room; there is
-- no other reason.
local told = steps and table.concat({text(epoch), text(steps), text(every), 'busy'}, ' ') or ''
local is_new = told ~= (string.match(r.limit or '', '^(.*) %d+$') or '')
if steps and is_new then
  r.limit = told .. ' ' .. text(now)
  redis.call('HSET', record_key(session), 'limit', r.limit)
elseif is_new then
  r.limit = false
  redis.call('HDEL', record_key(session), 'limit')
end

local allowed, before = allowed_of(r, choice, r.requested), r.granted_number
local lower = steps and granted_of(r, choice) > rung_of(steps, every)
local due = lower and cost_at(r, choice, rung_of(steps, every)) or 0
if not lower then
  -- What is kept for who waits longest is no plan's to give away: it would be kept from small sessions for nothing.
  raise(session, r, choice, is_hole(r.owner, r.pool) and math.min(allowed, granted_of(r, choice)) or allowed, false)
elseif can_pay(r, due, false) then
  pay(session, r, math.max(r.cost, due))  -- a lower level may cost more, where that is what was measured
  grant(session, r, level_at(choice, rung_of(steps, every)))
end
if is_new and r.granted_number == before then event('phase', session, r.epoch, r.phase) end
local has = granted_of(r, choice)
return {has >= allowed and (not steps or has <= rung_of(steps, every)) and 'done' or 'no-room'}
