"""``python -m stockdb``: the command line."""

from stockdb.app.cli import main

if __name__ == "__main__":
    main()
