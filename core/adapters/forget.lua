-- Erases a person: KEYS the aliases of their ids, ARGV the person key of each id. Returns every person key they had.
local persons = {}
for i = 1, #KEYS do
    for _, person in ipairs({redis.call('GET', KEYS[i]) or ARGV[i], ARGV[i]}) do
        redis.call('DEL', 'sisters:inbox:' .. person)
        redis.call('ZREM', 'sisters:waiting', person)
        persons[#persons + 1] = person
    end
    redis.call('DEL', KEYS[i])
end
return persons
