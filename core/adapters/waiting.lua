-- Persons whose inbox has waited longer than ARGV[1] ms, longest first, ARGV[2] at most.
-- A person without an inbox (erased by hand, evicted) leaves the set here.
local time = redis.call('TIME')
local before = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1]
local found = {}
for _, person in ipairs(redis.call('ZRANGEBYSCORE', 'sisters:waiting', '-inf', before, 'LIMIT', 0, ARGV[2])) do
    if redis.call('EXISTS', 'sisters:inbox:' .. person) == 1 then
        found[#found + 1] = person
    else
        redis.call('ZREM', 'sisters:waiting', person)
    end
end
return found
