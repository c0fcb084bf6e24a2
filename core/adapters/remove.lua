-- Takes exactly these entries out of an inbox; what another worker has not copied yet stays.
-- ARGV: 1 person, then the entries, oldest first. They stand at the head: what is no longer there another worker removed,
-- and is not searched for. Returns how many still wait.
local inbox = 'sisters:inbox:' .. ARGV[1]
for i = 2, #ARGV do
    if redis.call('LINDEX', inbox, 0) == ARGV[i] then
        redis.call('LPOP', inbox)
    end
end
local rest = redis.call('LLEN', inbox)
if rest == 0 then
    redis.call('ZREM', 'sisters:waiting', ARGV[1])
else
    local time = redis.call('TIME')
    redis.call('ZADD', 'sisters:waiting', time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
end
return rest
