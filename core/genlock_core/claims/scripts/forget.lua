-- forget(session) -> {1 if it was there, and finished or unowned}
local r = read(ARGV[2])
if not r or r.owner then return {0} end
forget(ARGV[2], r)
return {1}
