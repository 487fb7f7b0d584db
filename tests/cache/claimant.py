"""Run as a process: claims keys when told to, says which it got, and holds them until it is killed.

python claimant.py URL SECONDS KEY...
"""

from __future__ import annotations

import sys

from hotstart.cache import open_store

if __name__ == "__main__":
    url, seconds, *keys = sys.argv[1:]
    store = open_store(url)
    store.get_many([b"connect"])
    print("ready", flush=True)
    sys.stdin.readline()
    claimed = store.claim([key.encode() for key in keys], float(seconds))
    print(*sorted(key.decode() for key in claimed), flush=True)
    sys.stdin.readline()
