std = "luajit"
max_line_length = 120
include_files = { "lua/**/*.lua", "pipelines/**/*.lua", "spec/**/*.lua", "tests/**/*.lua" }
files["lua/types"] = { unused = false } -- declarations only
files["spec"] = { std = "+busted" }
files["pipelines/spec"] = { std = "+busted" }
