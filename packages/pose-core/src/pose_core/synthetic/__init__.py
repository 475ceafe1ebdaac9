"""Synthetic people: articulated, clothed figures in cluttered scenes, written as the files of real data sets.

Everything is drawn from a seed, so there is nothing to download and nothing to license.
"""

from pose_core.synthetic.annotate import DrawnPerson
from pose_core.synthetic.figure import LANDMARKS
from pose_core.synthetic.layouts import LAYOUTS, Written, write_dataset
from pose_core.synthetic.paint import PARTS
from pose_core.synthetic.scene import Scene, render_scene

__all__ = ["LANDMARKS", "LAYOUTS", "PARTS", "DrawnPerson", "Scene", "Written", "render_scene", "write_dataset"]
