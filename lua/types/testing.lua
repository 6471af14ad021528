---@meta logcap.testing
-- For editors: what a spec gets from require "logcap.testing". Never loaded; docs/testing.md describes it.

---@class logcap.testing.LoadOptions
---@field clock? number the time at the start, in seconds since 1970; default: now
---@field allow? string[] what the files see beyond the allow-list; default: what --allow says

---@class logcap.testing.Where
---@field source? string the source's name; default: "test.log"
---@field monitor? string which monitor, when the pipeline has several

---@class logcap.testing.Output
---@field records table<string, table[]> by sink: the records as tables
---@field lines table<string, string[]> by sink: the lines that it would write
---@field paths table<string, string[]> by file sink: the file of each line
---@field dropped table<string, integer> how many records were dropped, by reason
---@field dead_letters table[] each with pipeline, stage, reason, source, position, and record or message and fields
---@field stopped? string why the first pipeline that a stage stopped did so

---@class logcap.testing.Pipelines
local Pipelines = {}

---Feeds lines to a pipeline, and returns when all of them are settled.
---@param pipeline string its name
---@param lines string|(string|table)[] a line or a list of them; a table is fed as a line of JSON
---@param where? logcap.testing.Where
function Pipelines:feed(pipeline, lines, where) end

---Moves the clock: what is due meanwhile happens.
---@param by logcap.duration
function Pipelines:advance(by) end

---Closes open multi-line groups, as the end of a file does.
function Pipelines:flush() end

---What came out since the last call.
---@return logcap.testing.Output
function Pipelines:drain() end

---The time, in seconds since 1970.
---@return number
function Pipelines:clock() end

---Stops all, and raises when a resource was not let go. Closing twice is fine.
function Pipelines:close() end

---@class logcap.testing
local testing = {}

---Loads pipeline files and starts what they describe.
---@param files string|string[] relative to the folder of the spec
---@param options? logcap.testing.LoadOptions
---@return logcap.testing.Pipelines
function testing.load(files, options) end

return testing
