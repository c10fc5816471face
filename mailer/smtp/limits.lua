-- What the processes tell one another once a second: who is alive, what domains answered, and the
-- limits learned. The rule itself is not here: a process judges a window and settles it.
--
-- KEYS     who is alive; the memory's own name; then per relay its limits: domain -> see write()
-- ARGV[1]  who speaks
-- ARGV[2]  a name for this memory, should it have none: a new name means that all was forgotten
-- ARGV[3]  settled: [[relay, domain, revision, accepted, throttled, rate, first], ...], numbers as
--          text; rate '0' forgets, revision '' stores only what is not known yet
-- ARGV[4]  answers: [[relay, domain, accepted, throttled, microseconds], ...]
-- returns  processes alive, the memory's name,
--          [[relay, domain, revision, accepted, throttled, microseconds, rate, first], ...] of ARGV[4],
--          and per relay [domain, rate, first, domain, rate, first, ...]

local ALIVE = 10e6
local KEPT_SECONDS = 3600
local STALE = 15e6        -- nothing was heard for so long: the window begins anew
local MOST = 5000         -- limits per relay

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1e6 + tonumber(time[2])

local function read(text)
    if not text then return nil end
    local rate, first, revision, since, accepted, throttled, touched = string.match(text,
        '^([%d.]+) ([%d.]+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
    local entry = {rate = rate, first = first, revision = revision, since = tonumber(since),
        accepted = tonumber(accepted), throttled = tonumber(throttled), touched = tonumber(touched)}
    if not revision or math.abs(now - entry.touched) > KEPT_SECONDS * 1e6 then return nil end
    return entry
end

local function write(key, domain, entry)
    redis.call('HSET', key, domain, string.format('%s %s %s %.0f %.0f %.0f %.0f', entry.rate, entry.first,
        entry.revision, entry.since, entry.accepted, entry.throttled, now))
    redis.call('EXPIRE', key, KEPT_SECONDS)
end

local function fresh(key)
    if redis.call('HLEN', key) >= MOST then return nil end
    return {rate = '0', first = '0', revision = string.format('%.0f', now), since = now, accepted = 0,
        throttled = 0}
end

redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - ALIVE))
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%.0f', now + ALIVE), '+inf')
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ALIVE / 1e3))

local name = redis.call('GET', KEYS[2]) or ARGV[2]
redis.call('SET', KEYS[2], name, 'EX', KEPT_SECONDS)

for _, told in ipairs(cjson.decode(ARGV[3])) do
    local key, domain, revision = KEYS[2 + told[1]], told[2], told[3]
    local entry = read(redis.call('HGET', key, domain))
    local counts = revision ~= ''
    if not counts then
        entry = not entry and fresh(key) or nil
    elseif entry and entry.revision ~= revision then
        entry = nil
    end
    if entry and told[6] == '0' then
        redis.call('HDEL', key, domain)
    elseif entry then
        entry.rate, entry.first = told[6], told[7]
        entry.revision = string.format('%.0f', tonumber(entry.revision) + 1)
        entry.accepted = math.max(0, entry.accepted - tonumber(told[4]))
        entry.throttled = math.max(0, entry.throttled - tonumber(told[5]))
        entry.since = now
        write(key, domain, entry)
    end
end

local totals = {}
for _, heard in ipairs(cjson.decode(ARGV[4])) do
    local key, domain, span = KEYS[2 + heard[1]], heard[2], tonumber(heard[5])
    local entry = read(redis.call('HGET', key, domain)) or fresh(key)
    if entry then
        local age = now - entry.since
        if age <= 0 or age > STALE then
            entry.since, entry.accepted, entry.throttled = now - span, 0, 0
        end
        entry.accepted = entry.accepted + tonumber(heard[3])
        entry.throttled = entry.throttled + tonumber(heard[4])
        write(key, domain, entry)
        totals[#totals + 1] = {heard[1], domain, entry.revision, entry.accepted, entry.throttled,
            now - entry.since, entry.rate, entry.first}
    end
end

local limits = {}
for i = 3, #KEYS do
    local all, known = redis.call('HGETALL', KEYS[i]), {}
    for j = 1, #all, 2 do
        local entry = read(all[j + 1])
        if not entry then
            redis.call('HDEL', KEYS[i], all[j])
        elseif tonumber(entry.rate) > 0 then
            known[#known + 1] = all[j]
            known[#known + 1] = entry.rate
            known[#known + 1] = entry.first
        end
    end
    limits[#limits + 1] = known
end
return {redis.call('ZCARD', KEYS[1]), name, totals, limits}
