-- Erases a person: KEYS the aliases of their ids, ARGV the person key of each id. Returns every person key they had, and
-- what waited in their inboxes.
local persons, entries = {}, {}
for i = 1, #KEYS do
    for _, person in ipairs({redis.call('GET', KEYS[i]) or ARGV[i], ARGV[i]}) do
        for _, entry in ipairs(redis.call('LRANGE', 'sisters:inbox:' .. person, 0, -1)) do
            entries[#entries + 1] = entry
        end
        redis.call('DEL', 'sisters:inbox:' .. person)
        redis.call('ZREM', 'sisters:waiting', person)
        persons[#persons + 1] = person
    end
    redis.call('DEL', KEYS[i])
end
return {persons, entries}
