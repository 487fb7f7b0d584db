from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from hotstart.files import exclusive

HOLD = (
    "import sys, time; from hotstart.files import exclusive\n"
    "with exclusive(sys.argv[1]):\n"
    "    print('held', flush=True); time.sleep(60)"
)


def test_a_lock_held_elsewhere_is_seen_and_a_killed_holder_gives_it_up(tmp_path: Path) -> None:
    path = str(tmp_path / "locks" / "one.lock")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with exclusive(path, wait=False) as held:
        assert not held
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with exclusive(path, wait=False) as held:
        assert held
