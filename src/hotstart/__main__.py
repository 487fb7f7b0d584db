"""`python -m hotstart`: the command line."""

from hotstart.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
