-- Asks for the paths of a file, one after the other and over again; tells the outcome as one JSON line.
local requests, count, at = {}, 0, 0

function init(arguments)
   wrk.headers["User-Agent"] = arguments[2]
   for path in io.lines(arguments[1]) do
      count = count + 1
      requests[count] = wrk.format("GET", path)
   end
end

function request()
   at = at % count + 1
   return requests[at]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '\nresult {"answered": %d, "seconds": %.6f, "p50_ms": %.4f, "p99_ms": %.4f, "refused": %d, "broken": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
