-- snapshot_deleted(session) -> {1 if its booking has ended}; one that lives on is its owner's to book
local r = read(ARGV[2])
if r and not is_finished(r.phase) then return {0} end
if booked_for(ARGV[2]) == 0 then return {0} end
book(ARGV[2], 0)
return {1}
