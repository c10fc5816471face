-- Gives letters their place on a limit's time line (GCRA), which every process shares.
--
-- KEYS[1]  the time line: the microsecond up to which it is given away, and to whom last
-- ARGV     letters wanted, letters per second, letters that went before asking, who asks
-- returns  letters granted and the microseconds until they may go;
--          or none, and the microseconds until it is worth asking again
--
-- All that is wanted is granted or nothing, and what is granted may lie a little ahead: so processes
-- queue, and each gets its turn. Who had the last turn may not reach as far ahead as the others.

local LATE = 1e5          -- whoever asks late by so much loses nothing; also the greatest burst
local AHEAD = 2e6
local AHEAD_AGAIN = 1e6
local SLACK = 1e6

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1e6 + tonumber(time[2])
local wanted = tonumber(ARGV[1])
local each = 1e6 / tonumber(ARGV[2])

local last
local given = nil
local stored = redis.call('GET', KEYS[1])
if stored then
    given, last = string.match(stored, '^(%d+) (%S+)$')
    given = tonumber(given)
end
if not given or given < now then
    given = now
end
given = given + tonumber(ARGV[3]) * each
-- Only a clock that was set back, or other settings, lead further ahead than this.
given = math.min(given, now + AHEAD + LATE + SLACK + math.max(each, 1e5))

local ahead = last == ARGV[4] and AHEAD_AGAIN or AHEAD
local wait = given - LATE - now
if wait > ahead then
    wanted, wait = 0, wait - ahead
else
    given, last = given + wanted * each, ARGV[4]
end
redis.call('SET', KEYS[1], string.format('%.0f %s', given, last or '-'),
    'PX', string.format('%.0f', math.ceil((given - now) / 1e3) + 1000))
return {wanted, math.ceil(math.max(wait, 0))}
