"""Faces that the project draws itself, so that a demonstration and a build need no photos of
anybody.

The emotion is drawn with brows, lids, nose and mouth alone, after the action units of the Facial
Action Coding System (Ekman & Friesen 1978); everything else follows the seed. What is learnt from
such faces says nothing about people.
"""

from motivnet.synthetic.faces import draw_face, iterate_faces, synthetic_faces

__all__ = ["draw_face", "iterate_faces", "synthetic_faces"]
