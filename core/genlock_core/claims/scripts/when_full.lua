-- What keeps a live stream going must not fail because Redis is full: it stands before the verbs that `lua._SHARED` names.
-- A full Redis refuses what may grow it, but never in the middle: once a script has written, the rest goes through. So
-- this is a write that needs no room. What follows it writes over what is there, and adds some hundred bytes at most, in
-- places that are bounded (a claim, a slot, capped streams). A Redis that refuses all writes refuses this one, too.
redis.pcall('HDEL', CLOCK, '')
