"""Synthetic people: articulated, clothed figures in cluttered scenes, written as the files of real data sets.

Everything is drawn from a seed, so there is nothing to download and nothing to license.
"""

from pose_core.data.synthetic.layouts import LAYOUTS, Written, joints_of, write_dataset
from pose_core.data.synthetic.render import PARTS
from pose_core.data.synthetic.scene import DrawnPerson, Scene, render_scene

__all__ = ["LAYOUTS", "PARTS", "DrawnPerson", "Scene", "Written", "joints_of", "render_scene", "write_dataset"]
