"""``pose-mrpose`` and ``python -m pose_mrpose``."""

import sys

from pose_core.cli import method_main


def main() -> int:
    """Run ``pose-mrpose``."""
    return method_main("mrpose")


if __name__ == "__main__":
    sys.exit(main())
