-- release(session, epoch, phase, reason) -> {1 if that claim held}
local r = read(ARGV[2])
if not r or not r.owner or r.epoch ~= tonumber(ARGV[3]) then return {0} end
release(ARGV[2], r, ARGV[4], ARGV[5])
return {1}
