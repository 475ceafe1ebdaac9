"""The samples of several data sets, as one training set: where each comes from, and which joints its source labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pose_core.data.sampler import Draws
from pose_core.text_tables import aligned

Array = np.ndarray


@dataclass(frozen=True)
class Mixture:
    """The samples of S sources with K joints in common, the first source's first."""

    names: tuple[str, ...]
    weights: tuple[float, ...]
    joints: tuple[str, ...]
    labels: Array
    """``(S, K)`` bool: the joints that a source has."""
    counts: Array
    """``(S, K)`` int64: the number of people who have a joint labeled."""
    people: tuple[int, ...]
    source: Array
    """``(N,)`` int64: the number of each sample's source."""

    @property
    def draws(self) -> Draws | None:
        """How often an epoch has each sample; None for once."""
        return None if set(self.weights) <= {1.0} else Draws(self.source, self.weights)

    @cached_property
    def learned(self) -> Array:
        """The joints ``(S, K)`` bool that a source has labeled at all. The others have no loss in its samples."""
        found: Array = self.labels & (self.counts > 0)
        return found

    @property
    def is_partial(self) -> bool:
        """Whether a source lacks labels of a joint."""
        return not self.learned.all()

    def labeled(self, sample: int) -> Array:
        """Return which joints are learned from a sample's source, ``(K,)`` bool."""
        found: Array = self.learned[self.source[sample]]
        return found

    def table(self) -> str:
        """Return a table of the labeled joints of each source, and of the samples that an epoch has of it."""
        drawn = Draws(self.source, self.weights).per_source
        cells = [
            ["", *self.names],
            *(
                [name, *(f"{count:,}" if has else "-" for has, count in zip(has_it, counts, strict=True))]
                for name, has_it, counts in zip(
                    self.joints, self.labels.T.tolist(), self.counts.T.tolist(), strict=True
                )
            ),
            ["people", *(f"{count:,}" for count in self.people)],
            ["weight", *(f"{weight:g}" for weight in self.weights)],
            ["samples an epoch", *(f"{count:,}" for count in drawn)],
        ]
        lines = [
            "labeled joints by source (-: not a joint of the source); without labels there is no loss in its samples",
            *(f"  {line}" for line in aligned(cells)),
        ]
        missing = [name for name, count in zip(self.joints, self.counts.sum(0).tolist(), strict=True) if not count]
        if missing:
            lines.append(f"warning: no source labels {', '.join(missing)}: the network will not learn to find them")
        return "\n".join(lines)
