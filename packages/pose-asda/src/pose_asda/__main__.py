"""``pose-asda`` and ``python -m pose_asda``."""

import sys

from pose_core.cli import method_main


def main() -> int:
    """Run ``pose-asda``."""
    return method_main("asda")


if __name__ == "__main__":
    sys.exit(main())
