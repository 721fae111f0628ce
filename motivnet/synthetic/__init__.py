"""Drawn faces, so that the demonstration and builds need no photos of people.

Brows, lids, nose and mouth show the emotion, after the action units of the Facial Action Coding
System (Ekman & Friesen 1978); everything else depends on the seed alone. A model trained on such
faces says nothing about people.
"""

from motivnet.synthetic.faces import draw_face, iterate_faces, synthetic_faces

__all__ = ["draw_face", "iterate_faces", "synthetic_faces"]
