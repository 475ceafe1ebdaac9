"""Files made to harm: what each becomes of on the command line, with its memory and time.

  python integration_tests/fuzz/attacks.py [NAME …]

Every attack is a file and a command that a person would type. The table says how the command ends, its last line, the
most memory of its process, and the CPU time of it and of its children.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from shapes import coco_tree

PATIENCE = 60.0
"""Seconds that a command may take."""
MARK = "a-stranger-was-here"
"""Name of the file that an attack's code would write."""
SCRIPTS = Path(sys.executable).parent

Attack = Callable[[Path], Sequence[Sequence[str]]]
"""Writes the files into a folder; returns commands. All of them run, the last one's end is reported."""


# --- weights ------------------------------------------------------------------------------------------------------


class _Code:
    """Runs a command when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.folder / MARK}",)


def code_in_weights(form: str, suffix: str) -> Attack:
    def write(folder: Path) -> Sequence[Sequence[str]]:
        import torch

        file = folder / f"weights{suffix}"
        content = {"state_dict": _Code(folder)}
        if form == "pickle":
            file.write_bytes(pickle.dumps(content, 2))
        else:
            torch.save(content, file, _use_new_zipfile_serialization=form == "zip")
        return [["pose-lite", "predict", _photo(folder), "--weights", str(file), "--cfg", "coco_lpn50_256x192",
                 "--detector", "whole"]]  # fmt: skip

    return write


def weights(change: Callable[[dict], object]) -> Attack:
    def write(folder: Path) -> Sequence[Sequence[str]]:
        import torch

        from pose_core import create_model

        state = create_model("lpn_50", num_joints=17).state_dict()
        change(state)
        torch.save(state, folder / "weights.pt")
        return [["pose-lite", "predict", _photo(folder), "--weights", str(folder / "weights.pt"), "--cfg",
                 "coco_lpn50_256x192", "--detector", "whole", "--out", str(folder / "out")]]  # fmt: skip

    return write


def _first(state: dict, change: Callable) -> None:  # type: ignore[type-arg]
    key = next(iter(state))
    state[key] = change(state[key])


# --- pickles ------------------------------------------------------------------------------------------------------


class _Reduced:
    def __init__(self, *parts: object) -> None:
        self.parts = parts

    def __reduce__(self) -> tuple[object, ...]:
        return self.parts


def rescore(content: Callable[[Path], object]) -> Attack:
    def write(folder: Path) -> Sequence[Sequence[str]]:
        file, made = folder / "rescore.pkl", content(folder)
        file.write_bytes(made if isinstance(made, bytes) else pickle.dumps(made, 2))
        train = [
            "pose-dekr",
            "rescore-train",
            "--cfg",
            "coco_dekr_w32_512",
            "--data",
            str(file),
            "--out",
            str(folder / "s.pt"),
        ]
        convert = ["pose-dekr", "rescore-convert", str(file), "--out", str(folder / "rescore.npz")]
        return [train, convert] if _has_convert() else [train]

    return write


def _has_convert() -> bool:
    from pose_dekr import METHOD

    return "rescore-convert" in METHOD.commands()


def _array_of_pointers(folder: Path) -> object:
    """Return an array whose dtype says object in its name and denies it in its flags."""
    lying = _Reduced(np.dtype, ("O8", False, True), (3, "|", None, None, None, -1, -1, 0))
    array = _Reduced(np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, (4,), lying, False, b"A" * 32))
    return [["pose", "pose_heatval", "oks"], [array, array, 0.5]]


def _huge_array(folder: Path) -> object:
    array = _Reduced(
        np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, (5 * 10**9,), np.dtype("f8"), False, b"")
    )
    return [["pose", "pose_heatval", "oks"], [array, array, 0.5]]


def _list_bomb(folder: Path) -> bytes:
    """Return a pickle of lists that double fifty million times."""
    return b"\x80\x02" + b"]" * 1 + b"".join(b"]" for _ in range(20_000_000)) + b"."


def _long_memo(folder: Path) -> bytes:
    return b"\x80\x02]r\xff\xff\xff\x7f."


# --- configurations -----------------------------------------------------------------------------------------------


def config(text: Callable[[], str], *, skeleton: bool = False) -> Attack:
    def write(folder: Path) -> Sequence[Sequence[str]]:
        file = folder / "stranger.yaml"
        file.write_text(text())
        if skeleton:
            return [["pose", "data", "check", "--layout", "coco", "--root", str(folder), "--skeleton", str(file)]]
        return [["pose", "show-config", "--cfg", str(file)]]

    return write


def bomb(indent: int, *, merged: bool = False) -> str:
    """Return lines of YAML that stand for 9^11 values."""
    rows = ["a0: &a0 {k: 1}" if merged else "a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for n in range(1, 12):
        nine = f"[{', '.join([f'*a{n - 1}'] * 9)}]"
        rows.append(f"a{n}: &a{n} {{<<: {nine}}}" if merged else f"a{n}: &a{n} {nine}")
    return "".join(f"{' ' * indent}{row}\n" for row in rows)


OWN = "method: lite\nmodel:\n  name: lpn_50\n  options:\n"
PUBLISHED = "TRAIN: {LR: 1}\nDATASET: {ROOT: x}\nMODEL:\n  NAME: pose_resnet\n  EXTRA:\n"


def run_outside(line: str) -> Attack:
    def write(folder: Path) -> Sequence[Sequence[str]]:
        (folder / "inner").mkdir()
        data = _coco(folder / "data")
        shown = subprocess.run(
            [SCRIPTS / "pose", "show-config", "--cfg", "pose-lite/synthetic_quick", f"data.root={data}",
             "train.iterations=1", "train.batch_size=2", "model.input_size=[64, 64]", "train.workers=0",
             "test.workers=0", "run.device=cpu", "data.val=train2017"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        key, _, value = line.partition("=")
        lines = [row for row in shown.splitlines() if not row.startswith("name:")]
        text = "\n".join(lines)
        if key == "name":
            text += f"\nname: '{value}'\n"
        else:
            text = text.replace(
                "  dir: runs", f"  dir: '{value}'" if key == "run.dir" else f"  dir: runs\n  name: '{value}'"
            )
            text = text.replace("  name: null", "") + "\nname: x\n"
        (folder / "inner" / "stranger.yaml").write_text(text)
        return [["pose-lite", "train", "--cfg", str(folder / "inner" / "stranger.yaml")]]

    return write


# --- data sets ----------------------------------------------------------------------------------------------------


def _coco(root: Path, **image: object) -> Path:
    from pose_core.skeleton import get_skeleton

    folder = root / "images" / "train2017"
    folder.mkdir(parents=True)
    for name in ("000000000001.jpg", "000000000002.jpg"):
        cv2.imwrite(str(folder / name), np.full((48, 64, 3), 127, np.uint8))
    (root / "annotations").mkdir()
    tree = coco_tree(get_skeleton("coco17").joints)
    tree["images"][0].update(image)
    (root / "annotations" / "person_keypoints_train2017.json").write_text(json.dumps(tree))
    return root


def _check(root: Path, layout: str = "coco", split: str = "train2017") -> list[str]:
    return ["pose", "data", "check", "--layout", layout, "--root", str(root), "--splits", split]


def name_of_image(name: Callable[[Path], str]) -> Attack:
    def write(folder: Path) -> Sequence[Sequence[str]]:
        (folder / "secret.jpg").write_bytes(cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes())
        root = _coco(folder / "data", file_name=name(folder))
        return [_check(root)]

    return write


def link_out(folder: Path) -> Sequence[Sequence[str]]:
    (folder / "secret.jpg").write_bytes(cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes())
    root = _coco(folder / "data")
    image = root / "images" / "train2017" / "000000000001.jpg"
    image.unlink()
    image.symlink_to(folder / "secret.jpg")
    return [_check(root)]


def image_bytes(content: Callable[[], bytes], suffix: str = ".png") -> Attack:
    """Put the bytes in place of an image, and predict on them, too."""

    def write(folder: Path) -> Sequence[Sequence[str]]:
        root = _coco(folder / "data")
        (root / "images" / "train2017" / "000000000001.jpg").write_bytes(content())
        return [_check(root)]

    return write


def png(width: int, height: int, depth: int = 8, *, lie: bool = False) -> bytes:
    """Return a PNG of zeros; with ``lie``, of a chunk that is said to be larger than the file."""
    raw = zlib.compressobj(9)
    row = b"\0" + bytes(width * 3 * depth // 8)
    data = b"".join([raw.compress(row) for _ in range(height)]) + raw.flush() if not lie else zlib.compress(b"\0" * 100)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    parts = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    if lie:
        parts += struct.pack(">I", 2**32 // 3) + b"tEXt" + b"x" * 200
    return parts + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def pipe(folder: Path) -> Sequence[Sequence[str]]:
    root = _coco(folder / "data")
    file = root / "annotations" / "person_keypoints_train2017.json"
    file.unlink()
    os.mkfifo(file)
    return [_check(root)]


def endless(folder: Path) -> Sequence[Sequence[str]]:
    root = _coco(folder / "data")
    image = root / "images" / "train2017" / "000000000001.jpg"
    image.unlink()
    image.symlink_to("/dev/zero")
    return [_check(root)]


def zip_of_zeros(folder: Path) -> Sequence[Sequence[str]]:
    root = _coco(folder / "data")
    shutil.rmtree(root / "images" / "train2017")
    with zipfile.ZipFile(root / "images" / "train2017.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("000000000001.jpg", "w", force_zip64=True) as member:
            for _ in range(3000):
                member.write(bytes(2**20))
        archive.writestr("000000000002.jpg", cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes())
    return [_check(root)]


def zip_that_climbs(folder: Path) -> Sequence[Sequence[str]]:
    root = _coco(folder / "data", file_name="../../climbed.jpg")
    shutil.rmtree(root / "images" / "train2017")
    photo = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    with zipfile.ZipFile(root / "images" / "train2017.zip", "w") as archive:
        for name in ("../../climbed.jpg", "000000000002.jpg"):
            archive.writestr(name, photo)
    return [_check(root)]


def _h5(folder: Path, fill: Callable[..., None]) -> Sequence[Sequence[str]]:
    import h5py

    root = folder / "data"
    for part in ("lsp", "mpii"):
        (root / part / "images").mkdir(parents=True)
    with h5py.File(root / "lsp_mpii.h5", "w") as file:
        fill(file, folder)
        for name, values in {
            "part": np.full((2, 16, 2), 5.0), "center": np.full((2, 2), 30.0), "scale": np.ones(2),
            "istrain": np.ones(2),
        }.items():  # fmt: skip
            if name not in file:
                file[name] = values
    return [_check(root, "lsp_mpii", "train")]


def h5_external(folder: Path) -> Sequence[Sequence[str]]:
    def fill(file, folder: Path) -> None:  # type: ignore[no-untyped-def]
        (folder / "secret.txt").write_text("the secret of this user")
        file.create_dataset("imgname", (2, 8), "u1", external=[(str(folder / "secret.txt"), 0, 16)])

    return _h5(folder, fill)


def h5_link(folder: Path) -> Sequence[Sequence[str]]:
    def fill(file, folder: Path) -> None:  # type: ignore[no-untyped-def]
        import h5py

        with h5py.File(folder / "secret.h5", "w") as other:
            other["names"] = np.array([b"the-secret", b"of-this-user"])
        file["imgname"] = h5py.ExternalLink(str(folder / "secret.h5"), "/names")

    return _h5(folder, fill)


def h5_fill(folder: Path) -> Sequence[Sequence[str]]:
    def fill(file, folder: Path) -> None:  # type: ignore[no-untyped-def]
        file["imgname"] = np.array([b"a.jpg", b"b.jpg"])
        file.create_dataset("part", (2, 2**26, 2), "f8", fillvalue=1.0, chunks=(1, 2**16, 2))

    return _h5(folder, fill)


def mat_of_zeros(folder: Path) -> Sequence[Sequence[str]]:
    """Write an LSP file of 3.4 GB of zeros, compressed."""
    root = folder / "data"
    (root / "images").mkdir(parents=True)
    count = 10_000_000
    dims = struct.pack("<IIiii", 5, 12, 3, 14, count) + b"\0" * 4
    body = (
        struct.pack("<IIII", 6, 8, 6, 0)
        + dims
        + struct.pack("<II", 1, 6)
        + b"joints\0\0"
        + struct.pack("<II", 9, 8 * 3 * 14 * count)
    )
    packer = zlib.compressobj(9)
    with (root / "joints.mat").open("wb") as file:
        file.write(b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM")
        data = packer.compress(struct.pack("<II", 14, len(body) + 8 * 3 * 14 * count) + body)
        zeros = bytes(2**22)
        left = 8 * 3 * 14 * count
        while left:
            data += packer.compress(zeros[: min(left, len(zeros))])
            left -= min(left, len(zeros))
        data += packer.flush()
        file.write(struct.pack("<II", 15, len(data)) + data)
    return [_check(root, "lsp", "train")]


def npz_of_objects(folder: Path) -> Sequence[Sequence[str]]:
    file = folder / "rescore.npz"
    array = np.empty(1, object)
    array[0] = _Code(folder)
    np.savez(file, points=array, joint_scores=array, oks=array)
    return [
        ["pose-dekr", "rescore-train", "--cfg", "coco_dekr_w32_512", "--data", str(file), "--out", str(folder / "s.pt")]
    ]


def deep_json(folder: Path) -> Sequence[Sequence[str]]:
    root = _coco(folder / "data")
    (root / "annotations" / "person_keypoints_train2017.json").write_text("[" * 2_000_000)
    return [_check(root)]


def long_number(folder: Path) -> Sequence[Sequence[str]]:
    root = _coco(folder / "data")
    file = root / "annotations" / "person_keypoints_train2017.json"
    file.write_text(file.read_text().replace('"id": 10', f'"id": {"9" * 1_000_000}'))
    return [_check(root)]


# --- places -------------------------------------------------------------------------------------------------------


def _photo(folder: Path) -> str:
    cv2.imwrite(str(folder / "photo.jpg"), np.full((96, 64, 3), 127, np.uint8))
    return str(folder / "photo.jpg")


def folder_of_links(folder: Path) -> Sequence[Sequence[str]]:
    photos = folder / "photos"
    photos.mkdir()
    (folder / "secret").mkdir()
    shutil.copy(_photo(folder), folder / "secret" / "secret.jpg")
    shutil.copy(_photo(folder), photos / "mine.jpg")
    (photos / "linked.jpg").symlink_to(folder / "secret" / "secret.jpg")
    (photos / "loop").symlink_to(photos)
    return [_predict(str(photos), folder)]


def escapes_in_a_name(folder: Path) -> Sequence[Sequence[str]]:
    photo = Path(_photo(folder))
    photo = photo.rename(folder / "a\x1b]0;owned\x07\x1b[31m.jpg")
    return [_predict(str(photo), folder)]


def link_in_place_of_a_result(folder: Path) -> Sequence[Sequence[str]]:
    (folder / "out").mkdir()
    (folder / "victim.txt").write_text("precious")
    for name in ("photo.jpg", "photo.json"):
        (folder / "out" / name).symlink_to(folder / "victim.txt")
    return [_predict(_photo(folder), folder)]


def link_in_place_of_a_video(folder: Path) -> Sequence[Sequence[str]]:
    import av

    (folder / "out").mkdir()
    (folder / "victim.txt").write_text("precious")
    with av.open(str(folder / "v.mp4"), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(3):
            for packet in stream.encode(
                av.VideoFrame.from_ndarray(np.full((64, 64, 3), 40 * number, np.uint8), format="rgb24")
            ):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    for name in (".v.part.mp4", "v.mp4"):
        (folder / "out" / name).symlink_to(folder / "victim.txt")
    return [_predict(str(folder / "v.mp4"), folder)]


def _predict(file: str, folder: Path) -> list[str]:
    return ["pose-lite", "predict", file, "--weights", _own_weights(folder), "--cfg", "coco_lpn50_256x192",
            "--detector", "whole", "--out", str(folder / "out")]  # fmt: skip


def _own_weights(folder: Path) -> str:
    import torch

    from pose_core import create_model

    torch.manual_seed(0)
    torch.save(create_model("lpn_50", num_joints=17).state_dict(), folder / "own.pt")
    return str(folder / "own.pt")


ATTACKS: dict[str, Attack] = {
    **{f"code in weights, {form} {suffix}": code_in_weights(form, suffix)
       for form in ("zip", "legacy", "pickle") for suffix in (".pt", ".pth.tar", ".pkl")},
    **{f"code in rescore data, {name}": rescore(lambda folder, wrap=wrap: wrap(_Code(folder)))
       for name, wrap in (("bare", lambda code: code),
                          ("in a row", lambda code: [["pose", "pose_heatval", "oks"], [code, code, code]]))},
    "npz of objects": npz_of_objects,
    "YAML python tag": config(lambda: "method: !!python/object/apply:os.system ['touch a-stranger-was-here']\n"),
    "rescore pickle: a dtype that lies": rescore(_array_of_pointers),
    "rescore pickle: 37 GB array": rescore(_huge_array),
    "rescore pickle: 20 million nested lists": rescore(_list_bomb),
    "rescore pickle: LONG_BINPUT 2^31": rescore(_long_memo),
    "zip: names that climb": zip_that_climbs,
    "zip: 3 GB of zeros": zip_of_zeros,
    "PNG of 293 bytes that lies": image_bytes(lambda: png(32, 32, lie=True)),
    "PNG 30000 x 30000": image_bytes(lambda: png(30000, 30000)),
    "PNG 20000 x 20000, 16 bit": image_bytes(lambda: png(20000, 20000, 16)),
    "h5 fill values": h5_fill, "h5 external storage": h5_external, "h5 external link": h5_link,
    "mat: 3.4 GB of zeros": mat_of_zeros,
    "YAML aliases: config": config(lambda: OWN + bomb(4)),
    "YAML merges: config": config(lambda: OWN + bomb(4, merged=True)),
    "YAML aliases: published": config(lambda: PUBLISHED + bomb(4)),
    "YAML aliases: skeleton": config(lambda: "sigmas: [0.1]\njoints:\n- " + bomb(2)[2:], skeleton=True),
    "YAML alias of itself": config(lambda: "method: lite\ndata: &a [*a]\n"),
    "YAML 20,000 deep": config(lambda: "a: " + "[" * 20_000),
    "YAML 20,000 unknown keys": config(lambda: "method: lite\n" + "".join(f"key_{n}: 1\n" for n in range(20_000))),
    "JSON 2,000,000 deep": deep_json, "JSON: a number of a million digits": long_number,
    "image name ../../": name_of_image(lambda folder: "../../../secret.jpg"),
    "image name /absolute": name_of_image(lambda folder: str(folder / "secret.jpg")),
    "image is a link out": link_out,
    "image name with escapes": name_of_image(lambda folder: "a\x1b]0;owned\x07.jpg"),
    "annotations are a pipe": pipe, "image is /dev/zero": endless,
    "config: name ../../x": run_outside("name=../../x"),
    "config: run.name /abs": run_outside("run.name=/tmp/pose-stranger"),
    "config: run.dir ../..": run_outside("run.dir=../.."),
    "weights: NaN": weights(lambda state: _first(state, lambda t: t.fill_(float("nan")))),
    "weights: complex": weights(lambda state: _first(state, lambda t: t.to(dtype=__import__("torch").complex64))),
    "weights: int8": weights(lambda state: _first(state, lambda t: t.to(dtype=__import__("torch").int8))),
    "predict: folder with links out and loops": folder_of_links,
    "predict: escapes in a file's name": escapes_in_a_name,
    "predict: result is a link": link_in_place_of_a_result,
    "predict: video's partial file is a link": link_in_place_of_a_video,
}  # fmt: skip


def attack(name: str) -> tuple[str, str, float, float]:
    """Run one attack; return how it ended, the last line, megabytes and seconds of CPU time."""
    with TemporaryDirectory(prefix="pose-attack-") as place:
        folder = Path(place)
        commands = ATTACKS[name](folder)
        before = {path: path.read_bytes() for path in folder.rglob("victim*")}
        end, last, memory, seconds, text = "", "", 0.0, 0.0, ""
        work = folder / "inner" if (folder / "inner").is_dir() else folder
        for command in commands:
            with (folder / "printed.txt").open("w+b") as printed:
                process = subprocess.Popen(
                    [SCRIPTS / command[0], *command[1:]], cwd=work, stdout=printed, stderr=subprocess.STDOUT,
                    env=os.environ | {"POSE_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", "POSE_OFFLINE": "1"},
                )  # fmt: skip
                began, done = time.monotonic(), 0
                while not done and time.monotonic() - began < PATIENCE:
                    memory = max(memory, _peak(process.pid))
                    done, status, usage = os.wait4(process.pid, os.WNOHANG)
                    time.sleep(0.01)
                if not done:
                    process.send_signal(signal.SIGKILL)
                    _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                printed.seek(0)
                text = printed.read().decode("utf-8", "replace")
            end = f"exit {process.returncode}" if done else f"no end in {PATIENCE:.0f} s"
            lines = [line for line in text.splitlines() if line.strip()]
            # A report of problems has the first of a kind below its title.
            told = [line for before, line in pairwise(lines) if "(stops" in before]
            told = [line for line in lines if line.startswith("error:")] + told + lines[-1:]
            after = lines[lines.index(told[0]) + 1 :][:1] if told and told[0].endswith(":") else []
            last, seconds = (
                " ".join(line.strip() for line in told[:1] + after),
                max(seconds, usage.ru_utime + usage.ru_stime),
            )
        if list(folder.rglob(MARK)) or Path(MARK).exists():
            end += ", CODE RAN"
        if any(not path.exists() or path.read_bytes() != content for path, content in before.items()):
            end += ", VICTIM CHANGED"
        if any(character in text for character in "\x1b\x07"):
            end += ", RAW ESCAPES"
        outside = [path for path in (folder.parent / "x", folder / "x", Path("/tmp/pose-stranger")) if path.exists()]
        if outside:
            end += f", WROTE {[path.name for path in outside]}"
            for path in outside:
                shutil.rmtree(path, ignore_errors=True)
        return end, last.replace(str(folder), "…"), memory, seconds


def _peak(process: int) -> float:
    """Return the most memory that a process has had so far, in megabytes."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)


def main() -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    chosen = [name for name in ATTACKS if not sys.argv[1:] or any(word in name for word in sys.argv[1:])]
    print("| attack | end | MB | CPU s | message |\n|---|---|---|---|---|")
    for name in chosen:
        end, last, memory, seconds = attack(name)
        shown = repr(last)[1:-1].replace("|", "\\|")
        print(f"| {name} | {end} | {memory:.0f} | {seconds:.1f} | {shown[:220]} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
