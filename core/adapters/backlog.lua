-- What waits: {inboxes, ms that the longest has waited, status reports}.
local oldest = redis.call('ZRANGE', 'sisters:waiting', 0, 0, 'WITHSCORES')
local time = redis.call('TIME')
local age = 0
if oldest[2] then
    age = math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - oldest[2])
end
return {redis.call('ZCARD', 'sisters:waiting'), age, redis.call('LLEN', 'sisters:reports')}
