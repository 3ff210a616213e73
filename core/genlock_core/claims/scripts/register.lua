-- register(offer as JSON) -> the sessions whose claims are void now
local offer = cjson.decode(ARGV[2])
if redis.call('HGET', worker_key(offer.name), 'incarnation') == offer.incarnation then return {} end
return enroll(offer)
