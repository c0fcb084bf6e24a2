-- Takes exactly these status reports off the list. ARGV: 1 reader, then the entries, oldest first. They stand at its
-- head: what is no longer there somebody else removed, and is not searched for. Returns how many still wait; with the
-- last one the reader's lease ends, so that whoever the next report wakes reads at once.
for i = 2, #ARGV do
    if redis.call('LINDEX', 'sisters:reports', 0) == ARGV[i] then
        redis.call('LPOP', 'sisters:reports')
    end
end
local rest = redis.call('LLEN', 'sisters:reports')
if rest == 0 and redis.call('GET', 'sisters:reports:reader') == ARGV[1] then
    redis.call('DEL', 'sisters:reports:reader')
end
return rest
