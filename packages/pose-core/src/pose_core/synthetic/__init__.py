"""Synthetic people: articulated, clothed figures in cluttered scenes, written in the layouts of real data sets.

All images are generated from a seed, so no download or license is needed.
"""

from pose_core.synthetic.annotate import DrawnPerson
from pose_core.synthetic.figure import LANDMARKS
from pose_core.synthetic.layouts import LAYOUTS, Written, write_dataset
from pose_core.synthetic.paint import PARTS
from pose_core.synthetic.scene import Scene, render_scene

__all__ = ["LANDMARKS", "LAYOUTS", "PARTS", "DrawnPerson", "Scene", "Written", "render_scene", "write_dataset"]
