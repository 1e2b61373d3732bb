"""Exit codes, a contract with scripts. When several apply the first of 5, 4, 3, 1 wins."""

OK = 0
DENIED = 1
USAGE = 2
INDETERMINATE = 3
BUDGET = 4
VERIFICATION = 5
BUG = 70
# What shells expect of a process that SIGHUP, SIGINT, SIGPIPE or SIGTERM ended.
HUNG_UP = 129
INTERRUPTED = 130
UNHEARD = 141
TERMINATED = 143
