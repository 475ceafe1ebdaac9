"""``pose-dekr`` and ``python -m pose_dekr``."""

import sys

from pose_core.cli import method_main


def main() -> int:
    return method_main("dekr")


if __name__ == "__main__":
    sys.exit(main())
