"""Readers of labelled face images, one file per layout."""
