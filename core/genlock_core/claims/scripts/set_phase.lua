-- set_phase(session, epoch, phase, reason) -> {1 if written}; epoch 0 writes for a session that nobody owns
local session, epoch, phase, reason = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local r = read(session)
if not r or is_finished(r.phase) then return {0} end
if epoch == 0 and r.owner or epoch > 0 and (not r.owner or epoch ~= r.epoch) then return {0} end
if is_finished(phase) then release(session, r, phase, reason) else set_phase(session, r, phase, reason) end
return {1}
