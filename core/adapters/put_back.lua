-- An entry that was taken out before goes to the end of an inbox. ARGV: 1 person, 2 the entry.
local time = redis.call('TIME')
redis.call('RPUSH', 'sisters:inbox:' .. ARGV[1], ARGV[2])
redis.call('ZADD', 'sisters:waiting', 'NX', time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
