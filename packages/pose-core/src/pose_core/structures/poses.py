"""The poses found in one image: drawn, cropped, and in the formats of other tools."""

from __future__ import annotations

import base64
import csv
import html
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from pose_core.errors import DataError, PoseError
from pose_core.files import write_json, write_text
from pose_core.skeleton import Skeleton

if TYPE_CHECKING:
    import pandas
    import supervision

Array = np.ndarray

PREVIEW = 800
"""Longest side in pixels of the picture that a notebook shows."""
ROWS = 20
"""Most people that a notebook lists."""


@dataclass(frozen=True, eq=False, repr=False)
class Poses:
    """The poses found in one image, in its pixels.

    ``keypoints`` is ``(N, K, 2)``, ``scores`` ``(N, K)`` per joint, ``pose_scores`` ``(N,)``,
    ``boxes`` ``(N, 4)`` as x, y, w, h for methods that work from boxes. ``track_ids`` ``(N,)`` are integers that name
    the same person in all frames of a video.

    ``image`` ``(H, W, 3)`` RGB uint8 is the image itself, not a copy; ``source`` is the file or URL it was read from,
    "" if there is none. Poses of many files keep only ``source``, and the image is read again when it is shown.
    """

    keypoints: Array
    scores: Array
    pose_scores: Array
    skeleton: Skeleton
    boxes: Array | None = None
    track_ids: Array | None = None
    image: Array | None = field(default=None, repr=False, compare=False)
    size: tuple[int, int] | None = None
    """Width and height of the image, if known."""
    source: str = ""

    def __post_init__(self) -> None:
        if self.image is not None and self.size is None:
            object.__setattr__(self, "size", (self.image.shape[1], self.image.shape[0]))

    def __len__(self) -> int:
        return len(self.keypoints)

    def __iter__(self) -> Iterator[Poses]:
        return (self[[i]] for i in range(len(self)))

    def __getitem__(self, rows: slice | Array | Sequence[int] | int) -> Poses:
        """Return the poses at ``rows``: a slice, a mask, a list of indices, or one index."""
        if isinstance(rows, int | np.integer):
            rows = [range(len(self))[int(rows)]]  # raises an IndexError as a list does
        return replace(
            self,
            keypoints=self.keypoints[rows],
            scores=self.scores[rows],
            pose_scores=self.pose_scores[rows],
            boxes=None if self.boxes is None else self.boxes[rows],
            track_ids=None if self.track_ids is None else self.track_ids[rows],
        )

    def __eq__(self, other: object) -> bool:
        """Return whether both hold the same poses; their images are not compared."""
        if not isinstance(other, Poses):
            return NotImplemented
        return self.skeleton == other.skeleton and all(
            np.array_equal(mine, theirs, equal_nan=True) if mine is not None and theirs is not None else mine is theirs
            for mine, theirs in (
                (getattr(self, each.name), getattr(other, each.name))
                for each in fields(self)
                if each.name in {"keypoints", "scores", "pose_scores", "boxes", "track_ids"}
            )
        )

    __hash__ = None  # type: ignore[assignment]  # arrays can change

    def __repr__(self) -> str:
        place = f" in {self.source}" if self.source else ""
        size = f" ({self.size[0]}x{self.size[1]})" if self.size else ""
        return f"<Poses: {_people(len(self))}, {self.skeleton.name}{place}{size}>"

    def _repr_html_(self) -> str:
        """Show the drawn image, if it is known, and a table of the people in a notebook."""
        try:
            pixels = self._pixels()
        except DataError:  # the file is gone: the rest can be shown
            pixels = None
        picture = ""
        if pixels is not None:
            content = base64.b64encode(_preview(self.draw(pixels))).decode()
            picture = f'<img src="data:image/jpeg;base64,{content}" alt="poses" style="max-width: 100%">'
        names = ["person", "track", "score", "box (x, y, w, h)", "joints of 0.2 or more"]
        lines = []
        for index, person in enumerate(self[:ROWS]):
            track = "" if person.track_ids is None else str(person.track_ids[0])
            box = "" if person.boxes is None else ", ".join(f"{value:.0f}" for value in person.boxes[0])
            shown = f"{int((person.scores[0] >= 0.2).sum())} of {self.skeleton.num_joints}"
            lines.append([str(index), track, f"{person.pose_scores[0]:.2f}", box, shown])
        kept = [column for column in range(len(names)) if column == 0 or any(line[column] for line in lines)]
        head = "".join(f"<th>{names[column]}</th>" for column in kept)
        body = "".join(f"<tr>{''.join(f'<td>{line[column]}</td>' for column in kept)}</tr>" for line in lines)
        table = f"<table><tr>{head}</tr>{body}</table>" if lines else ""
        more = f"<div>and {len(self) - ROWS} more</div>" if len(self) > ROWS else ""
        return f"<div>{html.escape(repr(self)[1:-1])}</div>{picture}{table}{more}"

    def draw(self, image: Array | None = None, threshold: float = 0.2, style: str = "side") -> Array:
        """Return a copy of ``image`` ``(H, W, 3)`` RGB uint8 with the joints that score at least ``threshold``.

        Limbs are drawn between them. Without ``image`` the poses' own is used. ``style`` selects the colors: see
        `pose_core.drawing.skeletons.palette`.
        """
        from pose_core.drawing.skeletons import draw_poses  # drawing needs OpenCV, plain data does not

        pixels = self._known_pixels() if image is None else image
        return draw_poses(pixels, self.keypoints, self.scores, self.skeleton, threshold, style)

    def show(self, threshold: float = 0.2, style: str = "side") -> None:
        """Show the drawn image: in the notebook, else in a window of matplotlib or of the system's image viewer."""
        drawn = self.draw(self._known_pixels(), threshold, style)
        if "ipykernel" in sys.modules:
            from IPython.display import Image, display

            display(Image(data=_preview(drawn)))
            return
        try:
            from matplotlib import pyplot
        except ImportError:
            pass
        else:
            if pyplot.get_backend().lower() in {"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"}:
                raise PoseError(
                    "poses cannot be shown: there is no notebook and no screen; use save('poses.jpg') instead"
                )
            pyplot.imshow(drawn)
            pyplot.axis("off")
            pyplot.show()
            return
        try:
            from PIL import Image as PillowImage
        except ImportError:
            raise PoseError(
                "showing poses outside a notebook needs matplotlib or Pillow: install one of them, or use "
                "save('poses.jpg')"
            ) from None
        PillowImage.fromarray(drawn).show()

    def save(self, path: str | Path, threshold: float = 0.2, style: str = "side") -> Path:
        """Write the poses in the format of the suffix, and return the path.

        An image suffix (.jpg, .png, …) gives the drawn image; .json what `to_dict` returns; .csv one line per joint.
        """
        target = Path(path)
        suffix = target.suffix.lower()
        if suffix == ".json":
            write_json(target, self.to_dict(), indent=1)
        elif suffix == ".csv":
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(JOINT_COLUMNS)
            writer.writerows(self._joint_rows())
            write_text(target, text.getvalue())
        else:
            from pose_core.drawing.sheets import write_image

            write_image(target, self.draw(self._known_pixels(), threshold, style))
        return target

    def crop(self, index: int, margin: float = 0.1) -> Poses:
        """Return one person with the part of the image around it; ``.image`` has its pixels.

        The part is the person's box, or the extent of its joints, enlarged on each side by ``margin`` of its longer
        side and cut at the image's border. Keypoints and box are in pixels of the part.
        """
        person, image = self[index], self._known_pixels()
        x, y, width, height = person._extents()[0]
        if not np.isfinite([x, y, width, height]).all():
            raise PoseError(f"pose {index} has no joint with a position: it cannot be cropped")
        more = margin * max(width, height)
        limit = np.array([image.shape[1], image.shape[0]])
        start = np.clip(np.floor([x - more, y - more]), 0, limit).astype(int)
        stop = np.clip(np.ceil([x + width + more, y + height + more]), 0, limit).astype(int)
        if (stop <= start).any():
            raise PoseError(f"pose {index} is outside the image: it cannot be cropped")
        boxes = None if person.boxes is None else person.boxes - np.array([*start, 0, 0], person.boxes.dtype)
        return replace(
            person,
            keypoints=person.keypoints - start.astype(person.keypoints.dtype),
            boxes=boxes,
            image=image[start[1] : stop[1], start[0] : stop[0]],
            size=(int(stop[0] - start[0]), int(stop[1] - start[1])),
            source="",
        )

    @overload
    def to_coco(self, image_id: None = None) -> dict[str, Any]: ...
    @overload
    def to_coco(self, image_id: int, category_id: int = 1) -> list[dict[str, Any]]: ...
    def to_coco(self, image_id: int | None = None, category_id: int = 1) -> dict[str, Any] | list[dict[str, Any]]:
        """Return COCO result entries, one per pose, with keypoints as x, y, score triples.

        Without ``image_id`` return the content of a COCO annotation file of this image: see `to_coco_dataset`.
        """
        if image_id is None:
            return to_coco_dataset([self])
        triples = np.concatenate([self.keypoints, self.scores[..., None]], -1).reshape(
            len(self), 3 * self.scores.shape[1]
        )
        return [
            {
                "image_id": int(image_id),
                "category_id": category_id,
                "keypoints": [float(value) for value in row],
                "score": float(score),
            }
            for row, score in zip(triples, self.pose_scores, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: the image's name and size, the skeleton, and people with joints by name."""
        people = []
        for index in range(len(self)):
            points, scores = self.keypoints[index].tolist(), self.scores[index].tolist()
            person: dict[str, Any] = {} if self.track_ids is None else {"track_id": int(self.track_ids[index])}
            person["score"] = round(float(self.pose_scores[index]), 5)
            person["keypoints"] = {
                name: [round(x, 2), round(y, 2), round(score, 4)]
                for name, (x, y), score in zip(self.skeleton.joints, points, scores, strict=True)
            }
            if self.boxes is not None:
                person["box"] = [round(value, 2) for value in self.boxes[index].tolist()]
            people.append(person)
        about: dict[str, Any] = {"image": self.source} if self.source else {}
        if self.size:
            about |= {"width": self.size[0], "height": self.size[1]}
        return {**about, "skeleton": self.skeleton.name, "people": people}

    def to_dataframe(self) -> pandas.DataFrame:
        """Return a pandas table with a row for each joint of each person, columns as in a .csv file."""
        try:
            from pandas import DataFrame
        except ImportError:
            raise PoseError("to_dataframe() needs the package pandas; install it, or use save('poses.csv')") from None
        return DataFrame(self._joint_rows(), columns=list(JOINT_COLUMNS))

    def to_supervision(self) -> supervision.KeyPoints:
        """Return the poses as KeyPoints of the package supervision, whose annotators and trackers take them."""
        try:
            from supervision import KeyPoints
        except ImportError:
            raise PoseError("to_supervision() needs the package supervision; install it") from None
        values = self.scores.astype(np.float32)
        # The field of the joints' scores has been renamed.
        name = "keypoint_confidence" if "keypoint_confidence" in KeyPoints.__dataclass_fields__ else "confidence"
        return KeyPoints(
            xy=self.keypoints.astype(np.float32), class_id=np.zeros(len(self), dtype=int), **{name: values}
        )

    def _joint_rows(self) -> list[tuple[Any, ...]]:
        return [
            (
                self.source,
                person,
                "" if self.track_ids is None else int(self.track_ids[person]),
                round(float(self.pose_scores[person]), 5),
                name,
                round(float(x), 2),
                round(float(y), 2),
                round(float(score), 4),
            )
            for person in range(len(self))
            for name, (x, y), score in zip(
                self.skeleton.joints, self.keypoints[person], self.scores[person], strict=True
            )
        ]

    def _extents(self) -> Array:
        """Return a box ``(N, 4)`` x, y, w, h of each person: its own, or the extent of its joints; NaN without any."""
        if self.boxes is not None:
            return np.asarray(self.boxes, np.float64)
        extents = np.full((len(self), 4), np.nan)
        for row, points in enumerate(self.keypoints):
            known = points[np.isfinite(points).all(1)]
            if len(known):
                extents[row] = *known.min(0), *np.ptp(known, axis=0)
        return extents

    def _pixels(self) -> Array | None:
        if self.image is None and self.source:
            from pose_core.photos import read_photo  # plain data must not load OpenCV

            return read_photo(self.source)
        return self.image

    def _known_pixels(self) -> Array:
        pixels = self._pixels()
        if pixels is None:
            raise PoseError(
                "these poses do not know their image: give it to draw(image), or set it by "
                "dataclasses.replace(poses, image=image)"
            )
        return pixels


JOINT_COLUMNS = ("image", "person", "track_id", "pose_score", "joint", "x", "y", "score")


def to_coco_dataset(poses: Sequence[Poses], threshold: float = 0.2) -> dict[str, Any]:
    """Return the content of a COCO annotation file with the poses of some images, for tools that import such files.

    Images are numbered from 1 and named after their source. A joint that scores less than ``threshold`` is marked as
    not labeled. All poses must be of one skeleton, of images with a known size.
    """
    skeletons = {each.skeleton.name: each.skeleton for each in poses}
    if len(skeletons) > 1:
        raise PoseError(f"a COCO file has one skeleton, but these poses are of {', '.join(sorted(skeletons))}")
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, each in enumerate(poses, 1):
        if each.size is None:
            raise PoseError(f"a COCO file needs the size of every image, and poses {image_id} have none: {each!r}")
        name = Path(each.source).name or f"{image_id:012d}.jpg"
        images.append({"id": image_id, "file_name": name, "width": each.size[0], "height": each.size[1]})
        for points, scores, total, box in zip(
            each.keypoints, each.scores, each.pose_scores, each._extents(), strict=True
        ):
            labeled = (scores >= threshold) & np.isfinite(points).all(1)
            triples = np.where(labeled[:, None], np.column_stack([points, np.full(len(points), 2)]), 0.0)
            x, y, width, height = (round(float(value), 2) for value in np.nan_to_num(box))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "keypoints": [
                        value for px, py, v in triples.tolist() for value in (round(px, 2), round(py, 2), int(v))
                    ],
                    "num_keypoints": int(labeled.sum()),
                    "bbox": [x, y, width, height],
                    "area": round(width * height, 2),
                    "iscrowd": 0,
                    "score": round(float(total), 5),
                }
            )
    categories = [
        {
            "id": 1,
            "name": "person",
            "supercategory": "person",
            "keypoints": list(skeleton.joints),
            "skeleton": [[first + 1, second + 1] for first, second in skeleton.limbs],
        }
        for skeleton in skeletons.values()
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"


def _preview(image: Array) -> bytes:
    """Return an RGB image as JPEG bytes, no larger than a notebook needs."""
    import cv2  # plain data must not load it

    from pose_core.drawing.sheets import encode_image

    zoom = PREVIEW / max(image.shape[:2])
    if zoom < 1:
        image = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    return encode_image(image, ".jpg")
