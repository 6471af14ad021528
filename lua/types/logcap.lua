---@meta logcap
-- For editors: what a pipeline file gets from require "logcap". Never loaded; docs/lua-api.md describes it.

---@alias logcap.duration number|string seconds, or "250ms", "10s", "5m", "1h", "7d"
---@alias logcap.size integer|string bytes, or "64KiB", "10MiB", "5GiB"
---@alias logcap.on_error "dlq"|"pass"|"drop"|"stop"
---@alias logcap.format "json"|"raw"
---@alias logcap.value string|number|boolean|table|userdata|nil

---@class logcap.Resource
---@field name string
---@field kind string
local Resource = {}

---Asks it to close. Twice is fine; any other use afterwards raises.
function Resource:close() end

---@return table<string, any> figures
function Resource:stats() end

---@class logcap.Monitor: logcap.Resource
---@class logcap.Stage: logcap.Resource
---@class logcap.Sink: logcap.Resource

---The record in hand, valid until the function returns. Fields are read and set by name.
---@class logcap.Record
---@field message? string of a plain line
---@field [string] logcap.value
local Record = {}

---@param key string
---@param ... string|integer steps into what is nested
---@return any
function Record:get(key, ...) end

---@param key string
---@param ... string|integer|logcap.value steps into what is nested, then the value
function Record:set(key, ...) end

---@param key string
---@param ... string|integer steps into what is nested
function Record:remove(key, ...) end

---@return fun(): string?, any
function Record:pairs() end

---@return table<string, any> copy
function Record:totable() end

---@return string? name of the source, such as a path
function Record:source_name() end

---@return table<string, string> copy of the monitor's labels
function Record:source_labels() end

---@return number seconds since 1970
function Record:event_time() end

---@alias logcap.Function fun(rec: logcap.Record): boolean?

---@class logcap.MultilineOptions
---@field start? string PCRE2: a line that matches begins a record
---@field continuation? string PCRE2: a line that matches belongs to the record before it
---@field negate? boolean
---@field max_lines? integer
---@field max_bytes? logcap.size
---@field timeout? logcap.duration

---@class logcap.FileMonitorOptions
---@field paths string[]
---@field exclude? string[]
---@field start? "beginning"|"end"
---@field hidden? boolean
---@field follow_symlinks? boolean
---@field max_line? logcap.size
---@field multiline? logcap.MultilineOptions
---@field max_open_files? integer
---@field rotated_wait? logcap.duration
---@field deleted_bytes? logcap.size
---@field deleted_age? logcap.duration
---@field labels? table<string, string>
---@field name? string

---@class logcap.StdinMonitorOptions
---@field max_line? logcap.size
---@field multiline? logcap.MultilineOptions
---@field labels? table<string, string>
---@field name? string

---@class logcap.JsonOptions
---@field on_error? logcap.on_error

---@class logcap.DedupOptions
---@field ttl? logcap.duration
---@field max_entries? integer
---@field fields? string[]
---@field per_source? boolean
---@field name? string

---@class logcap.StageLimits
---@field time? logcap.duration of each record; 0: none

---@class logcap.StageOptions
---@field [1] logcap.Function
---@field on_error? logcap.on_error
---@field limits? logcap.StageLimits
---@field quarantine? logcap.on_error
---@field name? string

---@class logcap.RotateOptions
---@field size? logcap.size
---@field age? logcap.duration

---@class logcap.RetainOptions
---@field files? integer
---@field size? logcap.size
---@field age? logcap.duration

---@class logcap.FileSinkOptions
---@field path string
---@field format? logcap.format
---@field metadata? boolean
---@field time? "utc"|"local"
---@field missing? string
---@field rotate? logcap.RotateOptions
---@field compress? "none"|"gzip"|"zstd"
---@field retain? logcap.RetainOptions
---@field fsync? boolean
---@field max_open_files? integer
---@field max_outputs? integer
---@field min_free? logcap.size
---@field mode? string
---@field folder_mode? string
---@field name? string

---@class logcap.StdoutSinkOptions
---@field format? logcap.format
---@field metadata? boolean
---@field name? string

---@class logcap.NullSinkOptions
---@field name? string

---@class logcap.Service: logcap.Resource

---@class logcap.AdminOptions
---@field listen string "127.0.0.1:9600", "[::1]:9600" or "unix:/run/logcap/admin.sock"
---@field token? string what a client must bear
---@field token_file? string a file whose first line is the token

---@class logcap.ResourceMonitorOptions
---@field interval? logcap.duration
---@field descriptors? integer
---@field memory? logcap.size
---@field stall? logcap.duration
---@field growth? boolean|logcap.Growth
---@field webhook? string

---@class logcap.Growth
---@field samples? integer
---@field descriptors? integer
---@field memory? logcap.size

---@class logcap.Alert
---@field name string "descriptors", "sink_stalled" ...
---@field state "raised"|"cleared"
---@field message string
---@field time number seconds since 1970
---@field value? number
---@field limit? number

---@class logcap.PipelineOptions
---@field name string
---@field from logcap.Monitor|logcap.Monitor[]
---@field stages? (logcap.Stage|logcap.Function)[]
---@field to logcap.Sink|logcap.Sink[]
---@field on_error? logcap.on_error
---@field limits? logcap.StageLimits of the functions in stages
---@field quarantine? logcap.on_error of the functions in stages
---@field memory? logcap.size

---@class logcap.LimitsOptions
---@field memory? logcap.size of all Lua functions together; 0: none
---@field time? logcap.duration of each record, where a stage says nothing else; 0: none
---@field load? logcap.duration of each pipeline file; 0: none

---@class logcap
---@field null userdata JSON's null
local logcap = {}

---@param options logcap.FileMonitorOptions
---@return logcap.Monitor
function logcap.file_monitor(options) end

---@param options? logcap.StdinMonitorOptions
---@return logcap.Monitor
function logcap.stdin_monitor(options) end

---@param options? logcap.JsonOptions
---@return logcap.Stage
function logcap.json(options) end

---@param options? logcap.DedupOptions
---@return logcap.Stage
function logcap.dedup(options) end

---@param options logcap.StageOptions
---@return logcap.Stage
function logcap.stage(options) end

---@param options logcap.FileSinkOptions
---@return logcap.Sink
function logcap.file_sink(options) end

---@param options? logcap.StdoutSinkOptions
---@return logcap.Sink
function logcap.stdout_sink(options) end

---@param options? logcap.NullSinkOptions
---@return logcap.Sink
function logcap.null_sink(options) end

---@param options logcap.AdminOptions
---@return logcap.Service
function logcap.admin(options) end

---@param options? logcap.ResourceMonitorOptions
---@return logcap.Service
function logcap.resource_monitor(options) end

---Calls the function when an alert is raised or cleared.
---@param fn fun(alert: logcap.Alert)
function logcap.on_alert(fn) end

---@param options logcap.PipelineOptions
function logcap.pipeline(options) end

---What the Lua functions of all files of this run may take.
---@param options logcap.LimitsOptions
function logcap.limits(options) end

---Calls the function, the last argument, with the resources and closes them in reverse order when it ends.
---@param ... any resources, then a function
---@return any ... what the function returns
function logcap.using(...) end

---@return table[] resources of the process
function logcap.resources() end

---Marks a table as a list, so that an empty one becomes [] in JSON.
---@param list? any[]
---@return any[]
function logcap.array(list) end

return logcap
