"""Files that others made come in through `pose_core.reading`: no other module calls the libraries that read them."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
READERS = {
    "cv2.imread", "cv2.imdecode", "cv2.imdecodemulti", "cv2.imreadmulti", "np.load", "np.fromfile", "np.memmap",
    "h5py.File", "zipfile.ZipFile", "tarfile.open", "loadmat", "pickle.load", "pickle.loads", "pickle.Unpickler",
    "torch.load", "safetensors.torch.load", "safetensors.torch.load_file", "av.open",
}  # fmt: skip
LAST = {name.rpartition(".")[2] for name in READERS}
EXCEPTIONS = {
    "pose_core/synthetic/drawing.py": {"zipfile.ZipFile"},  # writes it
    "pose_core/layouts/formats/deeplabcut_h5.py": {"h5py.File"},  # writes it
    "pose_core/engine/parallel_evaluation.py": {"pickle.loads"},  # from its own process, moments ago
    "pose_core/cli/quickstart.py": {"cv2.imdecode"},  # of what it has drawn
    "pose_core/inference/standalone.py": {"cv2.imdecode", "np.fromfile"},  # a script of its own, which imports nothing
    "pose_core/inference/video.py": {"av.open"},  # checks what it opens itself
    "pose_core/inference/video_writing.py": {"av.open"},  # opens with the same settings
    "pose_core/models/weights.py": {"torch.load", "safetensors.torch.load"},  # after check_checkpoint
}


def called(path: Path) -> set[str]:
    """Return the names of `READERS` that a module calls or inherits from."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        targets = [node.func] if isinstance(node, ast.Call) else node.bases if isinstance(node, ast.ClassDef) else []
        targets = [each for each in targets if getattr(each, "attr", getattr(each, "id", "")) in LAST]
        found |= {name for each in targets if (name := ast.unparse(each).removeprefix("self.")) in READERS}
    return found


def modules() -> list[Path]:
    return [path for path in sorted(ROOT.glob("packages/*/src/**/*.py")) if path.parent.name != "reading"]


def test_the_check_sees_calls(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import numpy as np\ndef f(p):\n    return [self.av.open(p), np.load(p)]\n")
    assert called(tmp_path / "a.py") == {"av.open", "np.load"}


def test_only_the_package_reading_reads_what_others_made() -> None:
    found = {"/".join(path.parts[path.parts.index("src") + 1 :]): called(path) for path in modules()}
    assert {module: names for module, names in found.items() if names} == EXCEPTIONS
