-- publisher_many(session ...) -> {run of its last publication or '0', 1 if it goes on, ...}, two for each session
local found = {}
for i = 2, #ARGV do
  local slot = slot_of(ARGV[i])
  found[#found + 1] = slot.run
  found[#found + 1] = slot.held and 1 or 0
end
return found
