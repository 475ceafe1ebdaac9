"""Joint sets: the built-in ones, a user's own, and their sigmas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_core.errors import ConfigError
from pose_core.skeleton import SKELETONS, Skeleton, estimate_sigmas, get_skeleton, list_skeletons, read_skeleton

NUMBERED = ("deepfashion294", "mpii_trb40")


@pytest.mark.parametrize("name", list_skeletons())
def test_built_in_sets_are_consistent(name: str) -> None:
    skeleton = get_skeleton(name)
    assert skeleton.name == name
    digits = name[-3:].lstrip("abcdefghijklmnopqrstuvwxyz_")
    assert skeleton.num_joints == int(digits.removeprefix("10k"))
    assert bool(skeleton.limbs) is (name not in NUMBERED)
    order = skeleton.flip_order
    assert np.array_equal(order[order], np.arange(skeleton.num_joints))
    for joint, other in enumerate(order):
        swapped = skeleton.joints[joint].replace("left", "#").replace("right", "left").replace("#", "right")
        assert skeleton.joints[other] == swapped
    assert set(skeleton.upper_body) | set(skeleton.lower_body) == set(range(skeleton.num_joints))
    assert {j for limb in skeleton.limbs for j in limb} <= set(range(skeleton.num_joints))


def test_published_constants() -> None:
    coco = SKELETONS["coco17"]
    expected = [26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]
    assert np.allclose(np.array(coco.sigmas) * 1000, expected)
    crowd = SKELETONS["crowdpose14"]
    assert np.allclose(
        np.array(crowd.sigmas) * 100, [7.9, 7.9, 7.2, 7.2, 6.2, 6.2, 10.7, 10.7, 8.7, 8.7, 8.9, 8.9, 7.9, 7.9]
    )
    assert coco.upper_body == tuple(range(11))
    assert SKELETONS["mpii16"].upper_body == tuple(range(7, 16))
    assert sorted(SKELETONS["mpii16"].flip_pairs) == [(0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)]


def test_joint_sets_of_the_zoo() -> None:
    whole = get_skeleton("coco_wholebody133")
    assert whole.joints[:17] == SKELETONS["coco17"].joints
    assert whole.sigmas[:17] == SKELETONS["coco17"].sigmas
    # The face's numbers are iBUG's: tip of the nose, outer corners of the eyes, corners of the mouth.
    assert {(23 + a, 23 + b) for a, b in [(36, 45), (48, 54), (0, 16), (31, 35)]} <= {
        (min(pair), max(pair)) for pair in whole.flip_pairs
    }
    # Hands follow: 21 joints each, mirrored one by one.
    assert [whole.flip_order[91 + i] for i in range(21)] == [112 + i for i in range(21)]
    face = get_skeleton("face68")
    assert face.sigmas == whole.sigmas[23:91]
    hand, rhd = get_skeleton("hand21"), get_skeleton("rhd21")
    assert (hand.sigmas, hand.flip_pairs) == (whole.sigmas[91:112], ())
    assert sorted(hand.joints) == sorted(rhd.joints) == sorted(get_skeleton("interhand21").joints)
    assert rhd.sigmas[1] == hand.sigmas[4]
    assert get_skeleton("halpe136").joints[26:94] == whole.joints[23:91]
    assert get_skeleton("posetrack17").joints[:3] == ("nose", "neck", "head_top")


def test_a_user_s_own_joint_set(tmp_path: Path) -> None:
    file = tmp_path / "bird.yaml"
    file.write_text(
        "joints: [beak, left_wing, right_wing]\nsigmas: [0.02, 0.08, 0.08]\n"
        "flip_pairs: [[left_wing, right_wing]]\nlimbs: [[beak, left_wing]]\nupper_body: [beak]\n"
    )
    bird = get_skeleton(str(file))
    assert bird.name == "bird"
    assert bird.flip_order.tolist() == [0, 2, 1]
    assert bird.limbs == ((0, 1),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("joints: [a]", "sigmas.*missing"),
        ("joints: [a, b]\nsigmas: [0.1]", "2 joints but 1 OKS"),
        ("joints: [a, a]\nsigmas: [0.1, 0.1]", "repeat"),
        ("joints: [a]\nsigmas: [0]", "positive"),
        ("joints: [a]\nsigmas: [x]", "numbers"),
        ("joints: [a]\nsigmas: [yes]", "numbers"),
        ("joints: [a]\nsigmas: [.nan]", "sigma of 'a' is nan"),
        ("joints: [a]\nsigmas: [.inf]", "sigma of 'a' is inf"),
        ("joints: [a]\nsigmas: [1e-30]", "sigma of 'a' is 1e-30; OKS sigmas must be positive numbers, 0.0001 to 10"),
        ("joints: [a]\nsigmas: [[1]]", "numbers"),
        ("joints: [a, '']\nsigmas: [1, 1]", "a name is ''; give 1 to 100 visible characters"),
        ('joints: ["a\\u202e"]\nsigmas: [1]', "holds a character that cannot be shown, line 1"),
        ("joints: [[a]]\nsigmas: [1]", r"joint 1 is \['a'\], not a name; write it in quotes"),
        ("joints: [no]\nsigmas: [1]", "joint 1 is False, not a name; write it in quotes"),
        ("joints: [a]\nsigmas: [1]\nname: {}", "'name' is {}, not a name"),
        ("joints: [a]\nsigmas: [1]\nlimbs: 5", "'limbs' must be a list"),
        ("joints: [a]\nsigmas: [1]\nupper_body: a", "'upper_body' must be a list"),
        ("joints: [a]\nsigmas: [1]\nupper_body: [a, a]", "in upper_body twice"),
        ("joints: [a, b]\nsigmas: [1, 1]\nflip_pairs: [[a, a]]", "two flip pairs"),
        (f"joints: {list(map(str, range(1001)))}\nsigmas: {[1] * 1001}", "1001 joints; give 1 to 1000"),
        ("joints: [a]\nsigmas: [1]\nlimb: []", "did you mean limbs"),
        ("joints: [a]\nsigmas: [1]\nlimbs: [[a, b]]", "'b'"),
        ("joints: [a, b, c]\nsigmas: [1, 1, 1]\nflip_pairs: [[a, b], [a, c]]", "two flip pairs"),
        ("[1, 2", "not valid YAML"),
        ("- a", "mapping"),
    ],
)
def test_mistakes_in_a_joint_set_are_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_skeleton(file)


@st.composite
def joint_sets(draw: st.DrawFn) -> dict[str, object]:
    """Return the content of a valid joint-set file."""
    count = draw(st.integers(1, 12))
    joints = [f"joint_{index}" for index in draw(st.permutations(range(count)))]
    pairs = draw(st.integers(0, count // 2))
    return {
        "joints": joints,
        "sigmas": draw(st.lists(st.floats(1e-3, 1), min_size=count, max_size=count)),
        "flip_pairs": [[joints[2 * pair], joints[2 * pair + 1]] for pair in range(pairs)],
        "limbs": draw(st.lists(st.tuples(st.sampled_from(joints), st.sampled_from(joints)).map(list), max_size=5)),
        "upper_body": draw(st.lists(st.sampled_from(joints), unique=True)),
    }


@given(joint_sets())
def test_any_joint_set_reads_back_as_written(tmp_path_factory: pytest.TempPathFactory, content: dict) -> None:
    file = tmp_path_factory.mktemp("joints") / "mine.yaml"
    file.write_text(yaml.safe_dump(content))
    skeleton = read_skeleton(file)
    assert list(skeleton.joints) == content["joints"]
    assert list(skeleton.sigmas) == content["sigmas"]
    names = np.array(skeleton.joints)
    assert names[[list(limb) for limb in skeleton.limbs]].tolist() == content["limbs"] or not content["limbs"]
    assert set(names[list(skeleton.upper_body)]) == set(content["upper_body"])
    order = skeleton.flip_order
    assert np.array_equal(order[order], np.arange(skeleton.num_joints))
    assert int((order != np.arange(skeleton.num_joints)).sum()) == 2 * len(content["flip_pairs"])


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean coco17"):
        get_skeleton("coco")
    with pytest.raises(ConfigError, match="does not exist"):
        get_skeleton("none.yaml")


def test_sigmas_are_recovered_from_simulated_annotators() -> None:
    rng = np.random.default_rng(0)
    truth, areas = rng.uniform(0, 300, (3000, 4, 2)), rng.uniform(1e3, 1e5, 3000)
    sigmas = np.array([0.02, 0.05, 0.08, 0.1])
    spread = sigmas[:, None] * np.sqrt(areas)[:, None, None] / np.sqrt(2)
    repeated = np.stack([truth + rng.normal(size=truth.shape) * spread for _ in range(3)], 1)
    table = np.concatenate([repeated, np.full((*repeated.shape[:3], 1), 2.0)], -1)
    table[:500, 1, 0, 2] = 0  # sometimes one annotator leaves a joint out
    assert np.allclose(estimate_sigmas(table, areas), sigmas, rtol=0.03)
    with pytest.raises(ConfigError, match="at least two"):
        estimate_sigmas(table[:, :1], areas)
    table[:, 1:, 2, 2] = 0
    with pytest.raises(ConfigError, match=r"joints \[2\]"):
        estimate_sigmas(table, areas)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.floats(0.01, 0.2), min_size=1, max_size=5),
    st.integers(2, 4),
    st.floats(0, 0.4),
    st.integers(0, 2**32 - 1),
)
def test_sigmas_do_not_depend_on_annotators_or_gaps(sigmas: list[float], raters: int, left: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, joints = 4000, len(sigmas)
    areas = rng.uniform(1e3, 1e5, count)
    spread = np.array(sigmas)[:, None] * np.sqrt(areas)[:, None, None] / np.sqrt(2)
    truth = rng.uniform(0, 300, (count, 1, joints, 2))
    table = np.empty((count, raters, joints, 3))
    table[..., :2] = truth + rng.normal(size=(count, raters, joints, 2)) * spread[:, None]
    table[..., 2] = np.where(rng.random((count, raters, joints)) < left, 0, 2)
    assert np.allclose(estimate_sigmas(table, areas), sigmas, rtol=0.08)


def test_sigmas_must_match() -> None:
    with pytest.raises(ConfigError, match="indices 0 to 1"):
        Skeleton("x", ("a", "b"), (), ((0, 5),), (0.1, 0.1), ())
