-- gateways() -> {name, http, ...} of those that are up
local up = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', GATEWAYS, '(' .. text(now), '+inf')) do
  local http = redis.call('HGET', gateway_key(name), 'http')
  if http then
    up[#up + 1] = name
    up[#up + 1] = http
  end
end
return up
