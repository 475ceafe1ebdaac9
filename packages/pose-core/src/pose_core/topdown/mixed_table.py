"""The people of several data sets as one table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pose_core.data.mixture import Mixture
from pose_core.errors import DataError
from pose_core.layouts.sources import Source
from pose_core.plurals import counted
from pose_core.topdown.person_table import PersonTable, read_table

Array = np.ndarray


def read_mixed_table(sources: Sequence[Source], aspect: float) -> tuple[PersonTable, Mixture, str]:
    """Return the people of the sources' training splits in the network's joints, and the problems of reading as text.

    Ids of images and annotations may repeat between sources. People without a label of any of the network's joints are
    left out.
    """
    tables, problems = [], []
    for source in sources:
        table, text = read_table(source.data, source.data.train, aspect)
        table, lost = _mapped(table, source)
        if lost:
            lines = f"{counted(lost, 'person', 'people')} left out: none of data.skeleton's joints is labeled"
            text = f"{text}\n{source.name}: {lines}" if text else f"{source.name}: {lines}"
        tables.append(table)
        problems += [text] if text else []
    first_row = np.cumsum([0, *(len(table.image_ids) for table in tables)])
    rows = [table.image + start for table, start in zip(tables, first_row[:-1], strict=True)]
    joined = {name: np.concatenate([getattr(table, name) for table in tables]) for name in PersonTable._fields}
    joints = [table.joints[..., 2] > 0 for table in tables]
    people = tuple(len(table.image) for table in tables)
    mixture = Mixture(
        names=tuple(source.name for source in sources),
        weights=tuple(source.weight for source in sources),
        joints=sources[0].skeleton.joints,
        labels=np.stack([source.joints.labels for source in sources]),
        counts=np.stack([labeled.sum(0) for labeled in joints]),
        people=people,
        source=np.repeat(np.arange(len(sources)), people),
    )
    return PersonTable(**{**joined, "image": np.concatenate(rows)}), mixture, "\n".join(problems)


def _mapped(table: PersonTable, source: Source) -> tuple[PersonTable, int]:
    """Return a table with the network's joints, and the number of people who have none of them labeled."""
    if source.joints.is_identity:
        return table, 0
    joints = source.joints.apply(np.asarray(table.joints))
    kept: Array = np.asarray((joints[..., 2] > 0).any(1))
    if len(kept) and not kept.any():
        raise DataError(
            f"data.sources, {source.name}: no person of {source.data.train} has a joint of {source.skeleton.name} "
            "labeled; correct joints, or remove the source"
        )
    people = {name: getattr(table, name)[kept] for name in ("image", "center", "scale", "annotation_id", "score")}
    return table._replace(joints=joints[kept], **people), int((~kept).sum())
