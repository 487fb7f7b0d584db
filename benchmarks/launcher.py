"""Start one program, time it until its last line, account for its memory. Run by `measure.py`.

Standard library alone, and little of it: on Linux a child's `ru_maxrss` begins at the peak of the
process that started it, so a starter that held more than a bare interpreter would lend every small
child its own size. Run as `python -I -S launcher.py PROGRAM`; its own output is one line,
`seconds peak_bytes exit_status`, then all that the program printed.
"""

import os
import sys
import time


def main() -> None:
    """Run the program given as the only argument and report."""
    reading, writing = os.pipe()
    files = [(os.POSIX_SPAWN_DUP2, writing, 1)]
    command = [sys.executable, "-c", sys.argv[1]]
    seconds = 0.0
    start = time.perf_counter()
    child = os.posix_spawn(command[0], command, os.environ, file_actions=files)
    os.close(writing)
    blocks = []
    while block := os.read(reading, 1 << 20):
        seconds = time.perf_counter() - start
        blocks.append(block)
    _, status, usage = os.wait4(child, 0)
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    header = f"{seconds!r} {peak} {os.waitstatus_to_exitcode(status)}\n"
    os.write(1, header.encode())
    for block in blocks:
        sys.stdout.buffer.write(block)


if __name__ == "__main__":
    main()
