"""Ask for a vector with so many MB of address space left, or in a cgroup; tell what came."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from endurance.account import MODEL, answer
from hotstart import Embedder, HotstartError

embedder = Embedder(MODEL)
if len(sys.argv) > 2:
    Path(sys.argv[2], "cgroup.procs").write_text(str(os.getpid()))
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * os.sysconf("SC_PAGE_SIZE") + int(sys.argv[1]) * 1_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
try:
    embedder.encode("How do I reset my password?")
    answer(error=None, said="", state=embedder.state)
except HotstartError as error:
    answer(error=type(error).__name__, said=str(error), state=embedder.state)
