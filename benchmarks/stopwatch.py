"""Run one command, and write to a file what it cost.

This stands alone between the harness and what is measured, and imports next to nothing: on Linux a
new process inherits the peak memory of the one that starts it, which so is that of a bare Python.

Usage: python -I -S stopwatch.py FILE COMMAND [ARGUMENT ...]
"""

import json
import os
import sys
from time import perf_counter

start = perf_counter()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
cost = {
    "wall s": perf_counter() - start,
    "CPU s": usage.ru_utime + usage.ru_stime,
    "peak MB": usage.ru_maxrss / 1024,
}
with open(sys.argv[1], "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes memory
    json.dump(cost, file)
sys.exit(os.waitstatus_to_exitcode(status) and 1)
