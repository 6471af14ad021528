#include "app/cli_table.h"

#include <stdint.h>

#define ON(verb) (1u << LC_VERB_##verb)
#define STATEFUL (ON(RUN) | ON(STATUS) | ON(AUDIT) | ON(POSITIONS) | ON(RELOAD) | ON(STOP) | ON(TOP) | \
                  ON(REPL))

static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const formats[] = {"auto", "text", "json", NULL};

const lc_cli_option lc_cli_options[] = {
    {"--once", LC_CLI_FLAG, ON(TOP), offsetof(lc_cli, once), NULL, NULL,
     "print one interval as plain text and exit; the default where the output is no terminal"},
    {"--interval", LC_CLI_VALUE, ON(TOP), offsetof(lc_cli, interval), "TIME", NULL,
     "from one sample to the next: 1s (default), 500ms, 1m, ..."},
    {"--filter", LC_CLI_VALUE, ON(TEST), offsetof(lc_cli, filter), "PATTERN", NULL,
     "run only the tests whose names match this Lua pattern"},
    {"--once", LC_CLI_FLAG, ON(RUN), offsetof(lc_cli, once), NULL, NULL,
     "read each file to the size it has now, deliver all of it, and exit"},
    {"--watch", LC_CLI_FLAG, ON(RUN), offsetof(lc_cli, watch), NULL, NULL,
     "reload when a pipeline file, or a module that it requires, changes"},
    {"--state-dir", LC_CLI_VALUE, STATEFUL, offsetof(lc_cli, state_dir), "DIR", NULL,
     "where positions, dead letters and the control socket live; else $LOGCAP_STATE_DIR,\n"
     "else /var/lib/logcap for root, else $XDG_STATE_HOME/logcap or ~/.local/state/logcap"},
    {"--log-level", LC_CLI_WORD, ON(RUN), offsetof(lc_cli, log_level), "LEVEL", levels,
     "the least level of logcap's own log: debug, info (default), warn or error"},
    {"--log-level", LC_CLI_WORD, ON(TEST), offsetof(lc_cli, log_level), "LEVEL", levels,
     "the least level of what pipelines log: debug, info (shows print), warn or error (default)"},
    {"--log-format", LC_CLI_WORD, ON(RUN), offsetof(lc_cli, log_format), "FORMAT", formats,
     "text, json, or auto (default): text on a terminal, JSON lines elsewhere"},
    {"--allow", LC_CLI_LIST, ON(RUN) | ON(CHECK) | ON(TEST), offsetof(lc_cli, allow), "NAME", NULL,
     "let pipeline files use NAME (io, os, ffi, debug, ...); may be given several times"},
    {"-e", LC_CLI_VALUE, ON(REPL), offsetof(lc_cli, code), "CODE", NULL,
     "run this chunk of Lua, print what it returns, and exit; 1 when it fails"},
    {"--json", LC_CLI_FLAG, ON(STATUS) | ON(AUDIT) | ON(POSITIONS) | ON(REPL), offsetof(lc_cli, json), NULL, NULL,
     "print JSON instead of text"},
    {NULL, LC_CLI_FLAG, 0, 0, NULL, NULL, NULL},
};

const lc_cli_verb lc_cli_verbs[LC_VERBS] = {
    [LC_VERB_RUN] =
        {"run", "FILE...", 1, SIZE_MAX, "run the pipelines of the given files",
         "Loads the pipeline files, checks them as a whole, and runs what they describe until it is stopped.\n"
         "Stop it with `logcap stop`, SIGTERM or SIGINT: it takes at most 30 seconds; a second signal stops at once.\n"
         "What was not delivered then is read again by the next run.\n"
         "\n"
         "Examples:\n"
         "  logcap run pipeline.lua                         follow files until stopped\n"
         "  logcap run --once pipeline.lua                  deliver what is there now; exit 1 if anything was left\n"
         "  logcap run --state-dir ./state a.lua b.lua      two files in one process, state beside them\n"
         "  logcap run --watch pipeline.lua                 reload whenever the file is saved\n"
         "\n"
         "A pipeline file to start with:\n"
         "  local logcap = require \"logcap\"\n"
         "  logcap.pipeline {\n"
         "    name = \"shop\",\n"
         "    from = logcap.file_monitor { paths = { \"/var/log/shop/*.log\" }, start = \"beginning\" },\n"
         "    stages = { logcap.json {}, function(rec) if rec.level == \"debug\" then return false end end },\n"
         "    to = logcap.file_sink { path = \"out/shop-%Y%m%d.ndjson\" },\n"
         "  }\n"},
    [LC_VERB_CHECK] =
        {"check", "FILE...", 1, SIZE_MAX, "load and validate pipeline files without running them",
         "Exit 0 when they are fine. Else exit 1 with the file, the line and a hint; nothing is made on disk.\n"
         "\n"
         "Examples:\n"
         "  logcap check pipeline.lua\n"
         "  logcap check pipelines/*.lua && systemctl restart logcap\n"},
    [LC_VERB_STATUS] =
        {"status", "", 0, 0, "what the running logcap does and holds",
         "Asks the logcap that owns the state directory: pipelines, sinks, batches, and every resource with its\n"
         "descriptors and bytes. Exit 1 when none runs there.\n"
         "\n"
         "Examples:\n"
         "  logcap status\n"
         "  logcap status --json | jq '.resources[] | select(.errors > 0)'\n"},
    [LC_VERB_AUDIT] =
        {"audit", "", 0, 0, "whether every byte read is accounted for",
         "Prints the ledger of each pipeline and sink:\n"
         "  read + created = delivered + dropped + dead-lettered + abandoned + in flight\n"
         "Exit 0 when all of them balance and nothing was abandoned, else 1 with the reasons. Asks the running\n"
         "logcap, or, when none runs, reads what the last one saved.\n"
         "\n"
         "Examples:\n"
         "  logcap audit\n"
         "  logcap audit --json --state-dir /var/lib/logcap\n"},
    [LC_VERB_POSITIONS] =
        {"positions", "", 0, 0, "how far each source was delivered to each sink, and the outputs",
         "Prints the committed positions: each source with a cursor per sink, and each output file with its length.\n"
         "With a running logcap also what it has read beyond them.\n"
         "\n"
         "Examples:\n"
         "  logcap positions\n"
         "  logcap positions --json | jq -r '.sources[].name'\n"},
    [LC_VERB_RELOAD] =
        {"reload", "", 0, 0, "load the pipeline files anew, without a gap",
         "The running logcap loads its files beside what runs, and exchanges them between two batches: what is named\n"
         "as before keeps its open files, positions, queues and entries; what is named no more drains and closes.\n"
         "Exit 0 when the new files run. Exit 1 with file, line and reason if not: then nothing has changed.\n"
         "SIGHUP does the same, and tells only the log.\n"
         "\n"
         "Examples:\n"
         "  logcap check pipeline.lua && logcap reload\n"
         "  logcap reload --state-dir ./state\n"},
    [LC_VERB_STOP] =
        {"stop", "", 0, 0, "stop the running logcap and wait until it has ended",
         "It stops reading, delivers what it has read, saves its positions and closes: at most 30 seconds.\n"
         "Exit 0 when it has ended, 1 when none runs or it did not end.\n"
         "\n"
         "Examples:\n"
         "  logcap stop\n"
         "  logcap stop --state-dir ./state\n"},
    [LC_VERB_TOP] =
        {"top", "", 0, 0, "throughput, queues and errors of the running logcap, live",
         "Asks the logcap that owns the state directory once in an interval, and shows for each pipeline and sink the\n"
         "records and bytes a second, what waits, and what was refused. q or Ctrl-C ends it; so does the end of the\n"
         "running logcap, with exit 1.\n"
         "\n"
         "Examples:\n"
         "  logcap top\n"
         "  logcap top --interval 5s --state-dir ./state\n"
         "  logcap top --once                               one sample, for scripts\n"},
    [LC_VERB_TEST] =
        {"test", "[FILE...] [-- ARG...]", 0, SIZE_MAX, "run the specs of pipeline files",
         "FILE is a spec, a folder with specs (*_spec.lua), or a pipeline file, whose spec stands beside it or in the\n"
         "folder spec there: shop.lua has shop_spec.lua or spec/shop_spec.lua. Without a FILE: the folder ./spec.\n"
         "Specs are written for busted (install the package lua-busted). What follows -- goes to it.\n"
         "Exit 0 when all passed, 1 when not.\n"
         "\n"
         "Examples:\n"
         "  logcap test                                     all specs below ./spec\n"
         "  logcap test shop.lua --filter 'debug lines'\n"
         "  logcap test -- --output=TAP\n"
         "\n"
         "A spec to start with, spec/shop_spec.lua:\n"
         "  local testing = require \"logcap.testing\"\n"
         "  describe(\"shop\", function()\n"
         "    local p\n"
         "    before_each(function() p = testing.load(\"../shop.lua\") end)\n"
         "    after_each(function() p:close() end)\n"
         "    it(\"drops debug lines\", function()\n"
         "      p:feed(\"shop\", { { level = \"debug\" }, { level = \"info\" } })\n"
         "      local out = p:drain()\n"
         "      assert.same({ { level = \"info\" } }, out.records.file_sink)\n"
         "      assert.same({ filtered = 1 }, out.dropped)\n"
         "    end)\n"
         "  end)\n"},
    [LC_VERB_REPL] =
        {"repl", "", 0, 0, "a Lua prompt inside the running logcap",
         "Runs Lua in the running logcap, between two batches, with the globals of its pipeline files. At the prompt,\n"
         "help() says what there is besides; Tab completes, Ctrl-C drops the line, Ctrl-D ends. From a pipe it reads\n"
         "chunks, and ends at the first that fails. With --json each result is a line of JSON, and what print() shows\n"
         "goes to standard error. Exit 1 when a chunk failed, or when none runs.\n"
         "\n"
         "Examples:\n"
         "  logcap repl\n"
         "  logcap repl -e 'pipelines()'\n"
         "  logcap repl -e 'tap(\"shop:2\", 5)'                         samples before and after a stage\n"
         "  logcap repl -e 'try(\"shop:2\", function(rec) rec.x = 1 end)'  what a function would do\n"
         "  logcap repl --json -e 'resources()' | jq '.[] | select(.errors > 0)'\n"
         "  logcap repl < checks.lua\n"},
    [LC_VERB_VERSION] = {"version", "", 0, 0, "print the version", "Example:\n  logcap version\n"},
    [LC_VERB_HELP] =
        {"help", "[VERB]", 0, 1, "explain a verb by example",
         "Examples:\n  logcap help run\n  logcap run --help\n"},
};
