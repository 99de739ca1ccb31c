"""`python -m yoyak` is `yoyak`."""

import sys

from yoyak.cli import main

if __name__ == "__main__":
    sys.exit(main())
