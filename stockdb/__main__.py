"""``python -m stockdb``: the command line."""

import sys

if __name__ == "__main__":
    try:
        from stockdb.app.cli import main
    except KeyboardInterrupt:  # while it still loads
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    main()
