-- The module `logcap`: what a pipeline file gets from require "logcap".
-- The constructors are native (src/bind/bind_*.c); their options are described in docs/lua-api.md and types.lua.

local native = require "logcap.native"
local using = require "logcap.using"

local error, pairs, setmetatable, tostring = error, pairs, setmetatable, tostring
local format, sort = string.format, table.sort
local nearest = native.nearest

local members = {
  using = using,
  null = native.null,
  array = native.array,
}
for name, constructor in pairs(native.module) do members[name] = constructor end

local names = {}
for name in pairs(members) do names[#names + 1] = name end
sort(names)

-- The module itself stays empty: it cannot be changed, and a mistyped name says so, instead of being nil.
return setmetatable({}, {
  __index = function(_, name)
    local member = members[name]
    if member ~= nil then return member end
    name = tostring(name)
    local meant = nearest(name, names)
    local hint = meant and format("; did you mean logcap.%s?", meant) or ""
    error(format("there is no logcap.%s%s", name, hint), 2)
  end,
  __newindex = function(_, name)
    error(format("logcap.%s cannot be set: the module is read-only", tostring(name)), 2)
  end,
  __metatable = "logcap",
})
