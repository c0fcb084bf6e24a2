-- The door: one message into its person's inbox, and a wake-up if nobody is awake for it yet. All or nothing.
-- KEYS: the alias of each id that names the person, strongest first.
-- ARGV: 1 entry, 2 life of an alias in s, 3 person key of the strongest id,
--       4 the queue for the wake-up ('' when the broker is not this Redis), 5 and 6 the wake-up around the person key.
-- Returns {person, 1 if the inbox was empty before, else 0}.
local known = redis.call('MGET', unpack(KEYS))
local person, others = false, {}
for i = 1, #KEYS do
    if known[i] and not person then
        person = known[i]
    elseif known[i] and known[i] ~= person then
        others[#others + 1] = known[i]
    end
end
person = person or ARGV[3]
for i = 1, #KEYS do
    redis.call('SET', KEYS[i], person, 'EX', ARGV[2])
end

local inbox = 'sisters:inbox:' .. person
local was_empty = redis.call('LLEN', inbox) == 0
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Two people turn out to be one: what waits for the second must not be overtaken by this message.
for _, other in ipairs(others) do
    local theirs = 'sisters:inbox:' .. other
    local since = redis.call('ZSCORE', 'sisters:waiting', other)
    for _, entry in ipairs(redis.call('LRANGE', theirs, 0, -1)) do
        redis.call('RPUSH', inbox, entry)
    end
    redis.call('DEL', theirs)
    redis.call('ZREM', 'sisters:waiting', other)
    if since then
        redis.call('ZADD', 'sisters:waiting', 'LT', since, person)
    end
end

redis.call('RPUSH', inbox, ARGV[1])
redis.call('ZADD', 'sisters:waiting', 'NX', now, person)
if was_empty and ARGV[4] ~= '' then
    redis.call('LPUSH', ARGV[4], ARGV[5] .. person .. ARGV[6])
end
return {person, was_empty and 1 or 0}
