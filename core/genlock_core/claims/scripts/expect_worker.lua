-- expect_worker(pool, ms until its next worker is expected to be ready) -> {1}
-- It runs out by itself: a time that has passed says nothing.
redis.call('HSET', P .. 'pool:' .. ARGV[2] .. ':settings', 'worker_ms', text(now + tonumber(ARGV[3])))
return {1}
