"""Networks exported from pixels to keypoints, and folders that predict without this package."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from pose_core.config import DataConfig, ModelConfig
from pose_core.errors import ConfigError, DataError, PoseError
from pose_core.inference import standalone
from pose_core.inference.bundle import FILES, write_bundle
from pose_core.inference.export import pipeline_graph, write_onnx, write_openvino, write_torch
from pose_core.inference.pipelines import build_pipeline, describe
from pose_core.inference.quantize import quantize
from pose_core.ops.decoding import soft_argmax
from pose_core.plugins.networks import create_model
from pose_core.plugins.predictors import Predictor
from pose_core.skeleton import SKELETONS
from pose_core.topdown.config import CropTestConfig, HeatmapConfig, TopDownConfig
from pose_core.topdown.crops import CropSettings, predict_crops
from pose_core.topdown.pipeline import CropPipeline, Keypoints
from pose_core.topdown.predictor import TopDownPredictor

pytest.importorskip("onnxscript", reason="the extra pose-core[export] is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra pose-core[export] is not installed")

COCO = SKELETONS["coco17"]
SIZE = (48, 64)
DECODINGS: dict[str, dict[str, object]] = {
    "argmax": {},
    "plain": {"quarter": False},
    "soft_argmax": {"decode": "soft_argmax"},
    "dark": {"decode": "dark", "convention": "unbiased"},
}


def config(flip: bool = True, color: str = "rgb", **heatmap: object) -> TopDownConfig:
    return TopDownConfig(
        method="none",
        data=DataConfig(color=color),  # type: ignore[arg-type]
        model=ModelConfig(name="none", input_size=SIZE),
        heatmap=HeatmapConfig(**heatmap),  # type: ignore[arg-type]
        test=CropTestConfig(batch_size=3, flip=flip, scale=1.1),
    )


class Peaks(nn.Module):
    """A network with one Gaussian of a trained network's size in each heatmap, at a place that depends on the image."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mix = nn.Conv2d(3, 17, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = soft_argmax(nn.functional.avg_pool2d(self.mix(x), 4), 2.0)[..., None, None]
        columns, rows = torch.arange(12.0), torch.arange(16.0)[:, None]
        return torch.exp(-((columns - places[:, :, 0]) ** 2 + (rows - places[:, :, 1]) ** 2) / 8)


def network() -> nn.Module:
    return Peaks().eval()


def smooth_image(width: int = 160, height: int = 120, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def crops(count: int) -> torch.Tensor:
    return torch.from_numpy(np.stack([smooth_image(*SIZE, seed) for seed in range(count)]))


@pytest.mark.parametrize(
    ("decoding", "flip"), [("argmax", True), ("plain", False), ("soft_argmax", False), ("dark", True)]
)
def test_pixels_become_the_keypoints_that_the_predictor_finds(decoding: str, flip: bool, tmp_path: Path) -> None:
    cfg = config(flip, "bgr" if decoding == "dark" else "rgb", **DECODINGS[decoding])
    net = network()
    done = write_onnx(pipeline_graph(build_pipeline(net, cfg), SIZE), tmp_path / "net.onnx")
    assert done.outputs == ("keypoints", "scores")
    assert done.error is not None
    assert done.error < 1e-3
    images = crops(5)
    session = onnxruntime.InferenceSession(str(done.file), providers=["CPUExecutionProvider"])
    keypoints, scores = session.run(None, {"images": images.numpy()})
    identity = np.broadcast_to(np.eye(2, 3), (5, 2, 3))
    stored = images.flip(3) if cfg.data.color == "bgr" else images
    expected = predict_crops(net, stored, identity, CropSettings.from_config(cfg, COCO))
    assert len(np.unique(expected[..., :2].round(3))) > 8
    np.testing.assert_allclose(keypoints, expected[..., :2], atol=1e-4, rtol=0)
    np.testing.assert_allclose(scores, expected[..., 2], atol=1e-5)


def test_the_flip_test_can_be_left_out(tmp_path: Path) -> None:
    net, images = network(), crops(2)
    plain, flipped = (build_pipeline(net, config(), flip=flip) for flip in (False, None))
    assert not plain.settings["flip"]
    assert flipped.settings["flip"]
    with torch.no_grad():
        assert not torch.equal(plain(images).scores, flipped(images).scores)


def test_a_file_of_torch_export_finds_the_same(tmp_path: Path) -> None:
    pipeline = build_pipeline(network(), config())
    done = write_torch(pipeline_graph(pipeline, SIZE), tmp_path / "net.pt2", notes={"joints": ["a"]})
    assert done.error == 0
    extra = {"notes.json": ""}
    loaded = torch.export.load(done.file, extra_files=extra).module()
    images = crops(4)
    with torch.no_grad():
        expected = pipeline(images)
        found = loaded(images)
    assert list(found) == ["keypoints", "scores"]
    torch.testing.assert_close(tuple(found.values()), tuple(expected))
    assert json.loads(extra["notes.json"]) == {"joints": ["a"]}


def test_openvino_finds_the_same(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="the extra pose-core[openvino] is not installed")
    pipeline = build_pipeline(network(), config())
    done = write_openvino(pipeline_graph(pipeline, SIZE), tmp_path / "net.xml", notes={"joints": ["a"]})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.bin", "net.xml"]
    assert done.error is not None
    assert done.error < 1e-3
    model = openvino.Core().read_model(done.file)
    assert json.loads(model.get_rt_info(["pose", "joints"]).astype(str)) == ["a"]
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    images = crops(4)
    with torch.no_grad():
        expected = pipeline(images)
    np.testing.assert_allclose(compiled([images.numpy()])["keypoints"], expected.keypoints, atol=1e-3)


class Moody(CropPipeline):
    """A pipeline that no file can reproduce."""

    calls = 0

    def forward(self, images: torch.Tensor) -> Keypoints:
        self.calls += 1
        found = super().forward(images)
        return Keypoints(found.keypoints + self.calls, found.scores)


def test_a_file_that_finds_other_keypoints_is_not_kept(tmp_path: Path) -> None:
    cfg = config()
    pipeline = Moody(network(), cfg, CropSettings.from_config(cfg, COCO))
    with pytest.raises(PoseError, match=r"differs from PyTorch's in \d+% of its values; the file was deleted"):
        write_onnx(pipeline_graph(pipeline, SIZE), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_the_notes_say_what_the_network_was_trained_with() -> None:
    net = create_model("simplebaseline_resnet18", num_joints=17)
    cfg = config().model_copy(update={"data": DataConfig(color="bgr", pixels="unit")})
    notes = describe(net, cfg)
    assert (notes["color"], notes["std"], notes["multiple"]) == ("bgr", (1.0, 1.0, 1.0), None)
    assert describe(net, cfg, build_pipeline(network(), cfg))["color"] == "rgb"
    assert json.loads(json.dumps(notes))["heatmap"]["decode"] == "argmax"


def load_script(folder: Path) -> ModuleType:
    """Import a bundle's script as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"bundle_{folder.name}", folder / "predict.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["opencv", "pillow"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with OpenCV, and where only Pillow is installed."""
    if request.param == "pillow":
        pytest.importorskip("PIL", reason="Pillow is not installed")
        monkeypatch.setitem(sys.modules, "cv2", None)
    return str(request.param)


@pytest.fixture(scope="module", params=["argmax", "dark"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TopDownConfig]:
    """Write a bundle; return its folder and its experiment."""
    cfg = config(color="bgr", bias=1.0, **DECODINGS[request.param])
    net, folder = network(), tmp_path_factory.mktemp("bundles") / request.param
    write_bundle(build_pipeline(net, cfg), SIZE, COCO, folder, notes=describe(net, cfg))
    return folder, cfg


def test_a_bundle_predicts_the_same(bundle: tuple[Path, TopDownConfig], reader: str) -> None:
    folder, cfg = bundle
    assert {file.name for file in folder.iterdir()} - {"__pycache__"} == set(FILES)
    script = load_script(folder)
    image = smooth_image(320, 240)
    boxes = np.array([[20.0, 30, 100, 180, 0.5], [-10, 5, 300.5, 100, 1], [200, 100, 30, 40, 0.9], [90, 3, 70, 200, 1]])
    found = script.predict(image, boxes)
    poses = Predictor(TopDownPredictor(network(), cfg, COCO, torch.device("cpu")))(image, boxes)
    # DARK divides small differences by each other: a rounding error of a heatmap becomes 1e-5 pixels of the crop, and a
    # crop of this small network shows up to eight pixels of the image on one.
    np.testing.assert_allclose(found.keypoints, poses.keypoints, atol=1e-4 if "argmax" in folder.name else 1e-3, rtol=0)
    np.testing.assert_allclose(found.scores, poses.scores, atol=1e-5)
    np.testing.assert_allclose(found.pose_scores, poses.pose_scores, atol=1e-5)
    assert script.predict(image, np.zeros((0, 4))).keypoints.shape == (0, 17, 2)


def test_a_bundle_runs_as_a_script(bundle: tuple[Path, TopDownConfig], tmp_path: Path) -> None:
    folder, cfg = bundle
    cv2.imwrite(str(tmp_path / "photo.png"), smooth_image()[..., ::-1])
    command = [sys.executable, "-W", "ignore", str(folder / "predict.py"), str(tmp_path / "photo.png")]
    done = subprocess.run([*command, "--box", "10,20,80,90"], capture_output=True, text=True, check=True)
    predictor = Predictor(TopDownPredictor(network(), cfg, COCO, torch.device("cpu")))
    expected = predictor(smooth_image(), np.array([[10.0, 20, 80, 90]]))
    (person,) = json.loads(done.stdout)
    assert list(person["keypoints"]) == list(COCO.joints)
    np.testing.assert_allclose([p[:2] for p in person["keypoints"].values()], expected.keypoints[0], atol=1e-3)
    with pytest.warns(UserWarning, match="whole image is taken as one person"):
        load_script(folder).predict(smooth_image())


class Deep(Peaks):
    """`Peaks` after a convolution, and with a map of its own after the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        nn.init.dirac_(self.first.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.first(x))


def test_eight_bit_convolutions_move_keypoints_little(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra pose-core[export] is not installed")
    pipeline = build_pipeline(Deep().eval(), config(**DECODINGS["dark"]))
    done = write_onnx(pipeline_graph(pipeline, SIZE), tmp_path / "net.onnx")
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="has 0 readable images; give at least 8"):
        quantize(done.file, pipeline, tmp_path / "images")
    for seed in range(12):
        cv2.imwrite(str(tmp_path / "images" / f"{seed}.png"), smooth_image(seed=seed))
    result = quantize(done.file, pipeline, tmp_path / "images")
    assert result.images == 9
    assert 0 < result.median < 1
    assert f"move by {result.median:.2f} input pixels" in str(result)
    nodes = onnx.load(done.file).graph.node
    makers = {output: node.op_type for node in nodes for output in node.output}
    kinds = [makers.get(node.input[1]) for node in nodes if node.op_type == "Conv"]
    # The first has eight-bit weights; the last one's and both lines of DARK's Gaussian stay in float.
    assert kinds.count("DequantizeLinear") == 1
    assert len(kinds) == 4


def test_bundles_do_not_mix_with_other_files(tmp_path: Path) -> None:
    net, cfg = network(), config()
    pipeline = build_pipeline(net, cfg)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match=r"has other files, such as thesis\.txt; name a new folder"):
        write_bundle(pipeline, SIZE, COCO, tmp_path)
    with pytest.raises(ConfigError, match="is a file"):
        write_bundle(pipeline, SIZE, COCO, tmp_path / "thesis.txt")


def test_the_script_warps_as_opencv_does() -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 500, 3), dtype=np.uint8)
    for seed in range(30):
        x, y, zoom = np.random.default_rng(seed).uniform([-100, -100, 0.3], [300, 200, 3])
        matrix = np.array([[zoom, 0, -x * zoom], [0, zoom, -y * zoom]])
        expected = cv2.warpAffine(image, matrix, (96, 128), flags=cv2.INTER_LINEAR)
        difference = np.abs(standalone._warp(image, matrix, (96, 128)).astype(int) - expected)
        # Versions of OpenCV before 5 round positions to a 32nd of a pixel.
        assert difference.max() <= (0 if cv2.__version__ >= "5" else 8)


def test_the_script_stays_readable() -> None:
    lines = Path(standalone.__file__).read_text("utf-8").splitlines()
    assert len(lines) <= 200
    assert not [line for line in lines if "import" in line.split()[:1] and ("torch" in line or "pose_core" in line)]


@pytest.mark.slow
def test_a_bundle_needs_neither_pytorch_nor_this_package(bundle: tuple[Path, TopDownConfig], tmp_path: Path) -> None:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed, so that no fresh environment can be made")
    made = subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(tmp_path / "env")], capture_output=True)
    python = next((tmp_path / "env").glob("[bS]*/python*"), None)
    if made.returncode or python is None:
        pytest.skip(f"no fresh environment can be made: {made.stderr.decode()}")
    wanted = ["numpy", "onnxruntime", "pillow"]
    added = subprocess.run([uv, "pip", "install", "-q", "--python", str(python), *wanted], capture_output=True)
    if added.returncode:
        pytest.skip(f"numpy, onnxruntime and pillow cannot be installed: {added.stderr.decode()}")
    folder, cfg = bundle
    cv2.imwrite(str(tmp_path / "photo.png"), smooth_image()[..., ::-1])
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); from predict import predict, read_image; "
        "poses = predict(read_image(sys.argv[2]), [[10, 20, 80, 90]]); "
        "print(json.dumps([poses.keypoints.tolist(), sorted(sys.modules)]))"
    )
    command = [str(python), "-c", code, str(folder), str(tmp_path / "photo.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    keypoints, modules = json.loads(done.stdout)
    assert not {"torch", "cv2", "pose_core"} & set(modules)
    box = np.array([[10.0, 20, 80, 90]])
    expected = Predictor(TopDownPredictor(network(), cfg, COCO, torch.device("cpu")))(smooth_image(), box)
    np.testing.assert_allclose(keypoints, expected.keypoints, atol=1e-3, rtol=0)
