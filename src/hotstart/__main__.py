"""`python -m hotstart`: the command line."""

from hotstart.cli import run

if __name__ == "__main__":
    run()
