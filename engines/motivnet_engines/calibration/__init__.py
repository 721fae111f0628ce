"""Fit a temperature and a distance threshold to labelled images."""
