-- The prompt inside a running logcap: sessions, each with an environment of its own, and what it offers.
--
-- Chunks run in a coroutine, so that reload() can wait for its outcome while the loop goes on. The C side
-- (src/bind/repl.c) makes each call one protected call under the time budget, and offers `host`: what the engine knows.

local native = require "logcap.native"
local offers = require "logcap.offers"
local printer = require "logcap.printer"
local complete = require "logcap.completion"

local error, load, pcall, select, setmetatable, tostring, type =
  error, load, pcall, select, setmetatable, tostring, type
local concat, format = table.concat, string.format
local create, resume, running, status, yield =
  coroutine.create, coroutine.resume, coroutine.running, coroutine.status, coroutine.yield
local getinfo = debug.getinfo
local no_machine_code = require("jit").off
local json_encode = native.json_encode

local PRINTED = 256 * 1024 -- bytes that one chunk may print
local FRAMES = 3           -- of a traceback
local RELOAD = {}          -- what a chunk yields that waits for a reload

---@class logcap.Session
---@field env table
---@field offers table<string, function>
---@field globals table
---@field views table<table, fun(): string> how results of ours look
---@field printed string[]
---@field left integer bytes that may still be printed
---@field thread? thread the chunk in hand
---@field json boolean
---@field trying boolean a try() is under way

local function print_to(session)
  return function(...)
    local parts = {}
    for i = 1, select("#", ...) do parts[i] = printer.value((select(i, ...))) end
    if session.left <= 0 then return end
    local line = printer.cut(concat(parts, "\t"), session.left)
    session.left = session.left - #line - 1
    session.printed[#session.printed + 1] = line
    if session.left <= 0 then session.printed[#session.printed + 1] = "... (more was printed than is shown)" end
  end
end

local function reload_of(session)
  return function()
    if running() ~= session.thread then
      error("reload() waits for its outcome: call it from the prompt itself, not from a coroutine", 0)
    end
    if session.trying then error("reload() cannot be used in a function that is tried", 0) end
    error(yield(RELOAD), 0) -- when it succeeds this state is left, and nobody comes back
  end
end

---@param host table<string, function> see src/bind/repl.c
---@param globals table what pipeline files see
---@return logcap.Session
local function open(host, globals)
  local session = { globals = globals, views = setmetatable({}, { __mode = "k" }), printed = {}, left = PRINTED }
  session.offers = offers(host, session)
  session.offers.print = print_to(session)
  session.offers.reload = reload_of(session)
  session.env = setmetatable({}, {
    __index = function(_, name)
      local offered = session.offers[name]
      if offered ~= nil then return offered end
      return globals[name]
    end,
  })
  return session
end

-- A chunk is an expression, or a list of them, or statements. nil, message, whether it only wants more text. Its
-- functions are not compiled to machine code: each chunk would leave some behind, until there is no room and that of
-- the stages is thrown away, too.
local function compile(session, code)
  local chunk, why = load("return " .. code, "=repl", "t", session.env)
  if not chunk then chunk, why = load(code, "=repl", "t", session.env) end
  if chunk then
    no_machine_code(chunk, true)
    return chunk
  end
  return nil, why, why:sub(-7) == "'<eof>'"
end

-- Adds "; called from pipeline.lua:3" to an error's message: the frames of the chunk that failed, but for logcap's own
-- and for the one that it begins with. That one may be shortened, "...a/pipeline.lua:5: ": its whole name comes back.
local function explain(thread, message)
  local frames, level = {}, 0
  while #frames < FRAMES do
    local info = getinfo(thread, level, "Sl")
    if not info then break end
    local source = info.source:gsub("^[@=]", "")
    local short = format("%s:%d:", info.short_src, info.currentline)
    local own = info.currentline <= 0 or info.source:find("^@logcap/")
    if message:sub(1, #short) == short then message = source .. message:sub(#info.short_src + 1)
    elseif not own then frames[#frames + 1] = format("%s:%d", source, info.currentline) end
    level = level + 1
  end
  return message .. (#frames > 0 and "; called from " .. concat(frames, ", ") or "")
end

local function failed(session, reason)
  if type(reason) ~= "string" then return "error", printer.value(reason) end
  return "error", printer.value(explain(session.thread, reason))
end

local function show(session, value)
  if session.json then return json_encode(value) end
  local view = type(value) == "table" and session.views[value]
  return view and view() or printer.value(value)
end

-- What became of the chunk: "done", its results as text; "error", the message; "reload": it waits.
local function settle(session, ok, ...)
  if not ok then return failed(session, (...)) end
  if status(session.thread) ~= "dead" then
    if (...) == RELOAD then return "reload" end
    return "error", "the chunk yields, but nobody would resume it: use coroutine.wrap"
  end
  local texts = {}
  for i = 1, select("#", ...) do
    local shown, text = pcall(show, session, (select(i, ...)))
    if not shown then return "error", tostring(text) end
    texts[i] = text
  end
  return "done", concat(texts, "\n")
end

-- Adds what was printed.
local function answer(session, kind, text)
  if kind ~= "reload" then session.thread = nil end
  local printed = concat(session.printed, "\n")
  return kind, text, printed
end

local repl = { open = open }

---Runs a chunk.
---@param session logcap.Session
---@param code string
---@param json boolean results as JSON, one a line
---@return "done"|"error"|"incomplete"|"reload" kind
---@return string? text
---@return string? printed
function repl.eval(session, code, json)
  local chunk, why, incomplete = compile(session, code)
  if not chunk then return incomplete and "incomplete" or "error", why, "" end
  session.json, session.printed, session.left, session.trying = json, {}, PRINTED, false
  session.thread = create(chunk)
  return answer(session, settle(session, resume(session.thread)))
end

---Goes on with a chunk that waits for a reload, which failed.
---@param message string why
function repl.resume(session, message)
  return answer(session, settle(session, resume(session.thread, message)))
end

---@param line string what stands before the cursor
---@return integer from where the word begins that the words complete, counted from 0
---@return string[] words
function repl.complete(session, line) return complete(session, line) end

return repl
