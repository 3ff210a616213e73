-- workers([name]) -> {{name, heartbeat age, hash, owned sessions}, ...}
local names = ARGV[2] and {ARGV[2]} or redis.call('SMEMBERS', WORKERS)
local views = {}
table.sort(names)
for _, name in ipairs(names) do
  local hash = redis.call('HGETALL', worker_key(name))
  if #hash > 0 then
    local age = now - tonumber(redis.call('HGET', worker_key(name), 'heartbeat_ms'))
    views[#views + 1] = {name, text(age), hash, redis.call('HGETALL', owned_key(name))}
  end
end
return views
