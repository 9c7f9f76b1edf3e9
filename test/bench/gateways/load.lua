-- What wrk sends, and what it checks of every response. From load.mjs, in the environment: REQUEST_BODY;
-- TOKEN, if each request has its own number in place of it, and FIRST, the first of these numbers.
local body, token = os.getenv("REQUEST_BODY"), os.getenv("TOKEN")
local number = tonumber(os.getenv("FIRST")) - 1
wrk.method, wrk.body, wrk.headers["content-type"] = "POST", body, "application/json"

if token then
  function request()
    number = number + 1
    return wrk.format(nil, nil, nil, (body:gsub(token, string.format("x%08d", number))))
  end
end

-- Global, so that done() can read them: it runs in the main thread, all else in the one that sends.
failed, example = 0, ""
local right

function response(status, _, text)
  -- Equal strings are one string in Lua: comparing with the last right answer costs nothing, however long it is.
  if status == 200 and text == right then return end
  if status == 200 and text:find('"data"', 1, true) and not text:find('"errors"', 1, true) then
    right = text
  else
    failed = failed + 1
    example = status .. " " .. text:sub(1, 300)
  end
end

local sender
function setup(thread) sender = thread end

local function quote(text)
  return '"' .. text:gsub('[%c"\\]', function(c) return string.format("\\u%04x", c:byte()) end) .. '"'
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nLOAD {"requests":%d,"ms":%.3f,"p50":%.3f,"p99":%.3f,"failed":%d,"example":%s}\n',
    summary.requests, summary.duration / 1000, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    sender:get("failed") + errors.connect + errors.read + errors.write + errors.timeout,
    quote(sender:get("example"))
  ))
end
