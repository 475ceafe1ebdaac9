"""Plain data: annotated people and images, predicted poses, and batches of tensors."""

from pose_core.structures.annotations import ImageRecord, Person
from pose_core.structures.batches import Batch
from pose_core.structures.poses import Poses, to_coco_dataset

__all__ = ["Batch", "ImageRecord", "Person", "Poses", "to_coco_dataset"]
