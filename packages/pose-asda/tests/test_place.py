"""The place of pose-asda is kept honestly."""

from pose_testing.unbuilt import check_unbuilt


def test_the_package_exports_nothing_and_says_so() -> None:
    check_unbuilt("asda")
