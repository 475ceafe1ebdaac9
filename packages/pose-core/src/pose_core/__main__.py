"""Run ``pose`` by ``python -m pose_core``."""

import sys

from pose_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
