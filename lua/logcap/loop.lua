-- The loop of a Lua stage over the records of a batch.
--
-- Its source is compiled for each stage anew, so that each stage has a prototype and with it machine code of its own:
-- a shared one would be specialised to the function of the first stage.

local record = require "logcap.record"

-- Room for the machine code of many stages; beyond the default of 512 KiB all of it would be thrown away and made anew.
require("jit.opt").start("maxtrace=8000", "maxmcode=16384")

local source = [[
local next_record, drop, refuse, view, record_of, describe, pcall, fn = ...
return function()
  while next_record(view) do
    local ok, verdict = pcall(fn, record_of(view.serial))
    if not ok then
      local reason = describe(verdict)
      refuse(view, reason, #reason)
    elseif verdict == false then
      drop(view)
    end
  end
end
]]

---@param fn fun(rec: logcap.Record): boolean?
---@return fun() loop over the records that the view has in hand
return function(fn)
  local make = assert(loadstring(source, "=logcap loop"))
  return make(record.next, record.drop, record.refuse, record.view, record.of, record.describe, pcall, fn)
end
