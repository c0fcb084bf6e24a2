-- One status report onto the list, and a wake-up if the list was empty before.
-- ARGV: 1 entry, 2 the queue for the wake-up ('' when the broker is not this Redis), 3 the wake-up.
-- Returns 1 if the list was empty before, else 0.
local was_empty = redis.call('RPUSH', 'sisters:reports', ARGV[1]) == 1
if was_empty and ARGV[2] ~= '' then
    redis.call('LPUSH', ARGV[2], ARGV[3])
end
return was_empty and 1 or 0
