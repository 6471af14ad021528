/* What specs use beside the module: a table `spec.feed` in package.loaded.
 *
 *     local feed = require "spec.feed"
 *     local out = feed.records(stage, { '{"a":1}' }, { json = true, source = "x.log", labels = { k = "v" } })
 *     out[1].json, out[1].raw, out[1].dropped, out[1].dead, out[1].unparsed
 *     local n, message = feed.check(file, ...)      -- loads pipeline files: how many pipelines, or nil and why not
 *     local tidy = feed.settle()                    -- performs the closes that were asked for */
#ifndef LC_TESTS_SPEC_FEED_H
#define LC_TESTS_SPEC_FEED_H

#include <lua.h>

/* Pushes the loader of the table. */
int lc_feed_open(lua_State *L);

#endif
