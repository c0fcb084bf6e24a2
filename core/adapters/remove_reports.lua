-- Takes exactly these status reports off the list. ARGV: the entries, oldest first. Returns how many still wait.
for i = 1, #ARGV do
    redis.call('LREM', 'sisters:reports', 1, ARGV[i])
end
return redis.call('LLEN', 'sisters:reports')
