"""Faces in pictures: finding them, and cutting them out for the model."""
