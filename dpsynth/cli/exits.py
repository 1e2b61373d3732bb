"""Exit codes, a contract with scripts. When several apply the first of 5, 4, 3, 1 wins."""

OK = 0
DENIED = 1
USAGE = 2
INDETERMINATE = 3
BUDGET = 4
VERIFICATION = 5
BUG = 70
# What shells expect of a process that SIGINT, SIGPIPE or SIGTERM ended.
INTERRUPTED = 130
UNHEARD = 141
TERMINATED = 143
