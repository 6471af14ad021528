# Compiles lua/logcap/*.lua to bytecode and gathers it in one C file: the binary needs no file beside it.
#
# The generated embedded_lua.h has the table lc_embedded_modules; lua/logcap/foo.lua is "logcap.foo", init.lua is
# "logcap". The bytecode keeps its debug information, so that an error names its line.

function(embed_lua ret_sources)
  set(folder ${PROJECT_BINARY_DIR}/generated)
  file(MAKE_DIRECTORY ${folder}/lua)
  file(GLOB_RECURSE scripts CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/lua ${PROJECT_SOURCE_DIR}/lua/logcap/*.lua)
  set(includes "")
  set(rows "")
  set(count 0)
  set(headers)
  foreach(script ${scripts})
    string(REGEX REPLACE "\\.lua$" "" module ${script})
    string(REGEX REPLACE "/init$" "" module ${module})
    string(REPLACE "/" "." module ${module})
    string(REPLACE "." "_" symbol ${module})
    set(header ${folder}/lua/${symbol}.h)
    # Run in lua/, so that the chunk is called "logcap/foo.lua" whatever machine built it.
    add_custom_command(OUTPUT ${header}
      COMMAND ${LUAJIT_PROGRAM} -b -g -n ${symbol} -t h ${script} ${header}
      DEPENDS ${PROJECT_SOURCE_DIR}/lua/${script}
      WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}/lua
      COMMENT "Compiling ${script}" VERBATIM)
    list(APPEND headers ${header})
    string(APPEND includes "#include \"lua/${symbol}.h\"\n")
    string(APPEND rows "  {\"${module}\", luaJIT_BC_${symbol}, luaJIT_BC_${symbol}_SIZE},\n")
    math(EXPR count "${count} + 1")
  endforeach()
  file(CONFIGURE OUTPUT ${folder}/embedded_lua.h @ONLY CONTENT [[
/* Generated: the Lua modules that are compiled in. */
#ifndef LC_EMBEDDED_LUA_H
#define LC_EMBEDDED_LUA_H

#include <stddef.h>

typedef struct lc_embedded {
  const char *name; /* "logcap.using" */
  const unsigned char *bytes;
  size_t size;
} lc_embedded;

extern const lc_embedded lc_embedded_modules[];
extern const size_t lc_embedded_module_count;

#endif
]])
  file(CONFIGURE OUTPUT ${folder}/embedded_lua.c @ONLY CONTENT [[
/* Generated. */
#include "embedded_lua.h"
@includes@
const lc_embedded lc_embedded_modules[] = {
@rows@  {NULL, NULL, 0}, /* ends the table */
};
const size_t lc_embedded_module_count = @count@;
]])
  set_source_files_properties(${folder}/embedded_lua.c PROPERTIES OBJECT_DEPENDS "${headers}")
  set(${ret_sources} ${folder}/embedded_lua.c ${headers} PARENT_SCOPE)
endfunction()
