"""``pose-lite`` and ``python -m pose_lite``."""

import sys

from pose_core.cli import method_main


def main() -> int:
    """Run ``pose-lite``."""
    return method_main("lite")


if __name__ == "__main__":
    sys.exit(main())
