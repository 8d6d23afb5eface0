"""``python -m noli`` and ``noli``: the command line."""

import signal
import sys


def run() -> int:
    """Run one command; Ctrl-C and a request to terminate are answered alike from the first import on."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from noli.cli.main import main

        return main()
    except KeyboardInterrupt:
        sys.stderr.write("noli: Interrupted.\n  do  give the same command again to resume\n")
        return 130


if __name__ == "__main__":
    sys.exit(run())
