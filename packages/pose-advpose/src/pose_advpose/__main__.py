"""``pose-advpose`` and ``python -m pose_advpose``."""

import sys

from pose_core.cli import method_main


def main() -> int:
    return method_main("advpose")


if __name__ == "__main__":
    sys.exit(main())
