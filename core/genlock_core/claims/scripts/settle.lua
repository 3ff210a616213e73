-- settle(session, epoch, number) -> {1 if that is the newest grant of that claim}
-- The worker says that no chunk begins with more steps than this grant has: the claim pays for no more. A worker that
-- speaks of an older grant may run more by now.
local session = ARGV[2]
local r = read(session)
if not r or not r.owner or r.epoch ~= tonumber(ARGV[3]) then return {0} end
if r.granted_epoch ~= r.epoch or r.granted_number ~= tonumber(ARGV[4]) then return {0} end
local choice = choice_in(r, r.pool)
if choice and choice.levels then pay(session, r, math.min(r.cost, due_of(r, choice))) end
return {1}
