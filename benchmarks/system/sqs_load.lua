-- What wrk does at an SQS endpoint, over AWS's JSON protocol; sqs_load.py runs it and reads the line of JSON that it prints at the end.
--
--   wrk … -s sqs_load.lua http://HOST:PORT -- ACTION QUEUE_URLS SIZE BATCH GROUPS
--
-- QUEUE_URLS: divided by commas; each of wrk's threads takes one of them, in turn.
-- ACTION send: SendMessage, or SendMessageBatch where BATCH is more than 1. GROUPS more than 0: to a FIFO queue, over so many groups in turn, each
--   message with a deduplication id of its own; else every request is the same octets, which costs wrk next to nothing.
-- ACTION receive: ReceiveMessage of BATCH, and the DeleteMessageBatch (or DeleteMessage) of what came, on whichever connection is free next.
--   Ends when the queue has been empty for a while. Counted is what was deleted, from the first answer to the last delete.

local ffi = require "ffi"
ffi.cdef [[ typedef struct { long tv_sec; long tv_nsec; } entrepot_timespec; int clock_gettime(int, entrepot_timespec *); ]]
local moment = ffi.new("entrepot_timespec")
local function now()
  ffi.C.clock_gettime(1, moment)
  return tonumber(moment.tv_sec) + tonumber(moment.tv_nsec) / 1e9
end

local EMPTY_MAX = 300 -- answers without a message in a row, after which a queue counts as empty
local threads = {}
function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

local function words(action)
  return {
    ["Host"] = wrk.host .. ":" .. wrk.port,
    ["Content-Type"] = "application/x-amz-json-1.0",
    ["X-Amz-Target"] = "AmazonSQS." .. action,
    ["X-Amz-Date"] = "20260101T000000Z",
    -- the form of a signature, which endpoints for tests do not check
    ["Authorization"] = "AWS4-HMAC-SHA256 Credential=123456789012/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host;x-amz-date, Signature=" .. ("0"):rep(64),
  }
end

local function ask(action, body) return wrk.format("POST", "/", words(action), body) end

-- Read by done() from each thread.
sent, received, deleted, refused, first, last, why = 0, 0, 0, 0, 0, 0, ""

local function sender(url, text, batch, groups)
  local count, group = 0, 0
  local function one(id)
    local said = id and ('{"Id":"' .. id .. '","MessageBody":"' .. text .. '"') or ('"MessageBody":"' .. text .. '"')
    if groups > 0 then
      count, group = count + 1, (group + 1) % groups
      said = said .. ',"MessageGroupId":"g' .. group .. '","MessageDeduplicationId":"' .. number .. "." .. count .. '"'
    end
    return id and said .. "}" or said
  end
  local function whole()
    if batch == 1 then return ask("SendMessage", '{"QueueUrl":"' .. url .. '",' .. one() .. "}") end
    local entries = {}
    for id = 1, batch do entries[id] = one(id) end
    return ask("SendMessageBatch", '{"QueueUrl":"' .. url .. '","Entries":[' .. table.concat(entries, ",") .. "]}")
  end
  if groups == 0 then
    local same = whole()
    request = function() return same end
  else
    request = whole
  end
  if batch > 1 then -- a batch may fail in part, with status 200
    response = function(status, headers, body)
      if status ~= 200 then return refuse(status, body) end
      local _, count = body:gsub('"MessageId"', "")
      sent = sent + count
      if count < batch then refuse(status, body) end
    end
  end
end

local function receiver(url, batch)
  local poll = ask("ReceiveMessage", '{"QueueUrl":"' .. url .. '","MaxNumberOfMessages":' .. batch .. ',"VisibilityTimeout":900,"WaitTimeSeconds":0}')
  local deletes, from, to, empty = {}, 1, 0, 0
  request = function()
    if from > to then return poll end
    local one = deletes[from]
    deletes[from], from = nil, from + 1
    return one
  end
  response = function(status, headers, body)
    if first == 0 then first = now() end
    if status ~= 200 then return refuse(status, body) end
    local entries = {}
    for handle in body:gmatch('"ReceiptHandle"%s*:%s*"([^"]+)"') do
      entries[#entries + 1] = batch == 1 and '"ReceiptHandle":"' .. handle .. '"' or '{"Id":"' .. #entries .. '","ReceiptHandle":"' .. handle .. '"}'
    end
    if #entries > 0 then
      received, empty, to = received + #entries, 0, to + 1
      deletes[to] = batch == 1 and ask("DeleteMessage", '{"QueueUrl":"' .. url .. '",' .. entries[1] .. "}")
        or ask("DeleteMessageBatch", '{"QueueUrl":"' .. url .. '","Entries":[' .. table.concat(entries, ",") .. "]}")
      return
    end
    local _, ended = body:gsub('"Id"', "")
    if batch == 1 and #body == 0 then ended = 1 end
    if ended > 0 then
      deleted, last = deleted + ended, now()
      return
    end
    if body:find('"Failed"%s*:%s*%[%s*{') then refuse(status, body) end
    empty = empty + 1
    if empty > EMPTY_MAX and from > to then wrk.thread:stop() end
  end
end

function refuse(status, body)
  refused = refused + 1
  if why == "" then why = (status .. " " .. body:sub(1, 160)):gsub('[%c"\\]', " ") end
end

function init(arguments)
  local action, size, batch, groups = arguments[1], tonumber(arguments[3]), tonumber(arguments[4]), tonumber(arguments[5])
  local urls = {}
  for each in arguments[2]:gmatch("[^,]+") do urls[#urls + 1] = each end
  local url = urls[number % #urls + 1]
  if action == "send" then sender(url, ("x"):rep(size), batch, groups) else receiver(url, batch) end
end

function done(summary, latency, requests)
  local total = { sent = 0, received = 0, deleted = 0, refused = 0 }
  local from, to, reason = 1e18, 0, ""
  for _, thread in ipairs(threads) do
    for name in pairs(total) do total[name] = total[name] + thread:get(name) end
    if thread:get("first") > 0 then from = math.min(from, thread:get("first")) end
    to = math.max(to, thread:get("last"))
    if reason == "" then reason = thread:get("why") end
  end
  local wrong = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"sent":%d,"received":%d,"deleted":%d,"receive_seconds":%.6f,"refused":%d,"socket_errors":%d,"p50_us":%d,"p99_us":%d,"p99_9_us":%d,"max_us":%d,"why":"%s"}\n',
    summary.requests, summary.duration / 1e6, total.sent, total.received, total.deleted, to > from and to - from or 0,
    math.max(total.refused, wrong.status), wrong.connect + wrong.read + wrong.write + wrong.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max, reason))
end
