-- The oldest status reports, for one reader at a time; removes nothing. Who reads goes on until none is left, and its
-- lease ends with the last one (remove_reports.lua) or, should it die or hang, by itself.
-- ARGV: 1 reader, 2 how many, 3 ms that the lease lasts. Returns nothing while somebody else reads.
local holder = redis.call('GET', 'sisters:reports:reader')
if holder and holder ~= ARGV[1] then
    return {}
end
local entries = redis.call('LRANGE', 'sisters:reports', 0, ARGV[2] - 1)
if #entries > 0 then
    redis.call('SET', 'sisters:reports:reader', ARGV[1], 'PX', ARGV[3])
elseif holder then
    redis.call('DEL', 'sisters:reports:reader')
end
return entries
