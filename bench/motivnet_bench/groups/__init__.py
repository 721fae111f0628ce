"""Whom a model works for: its accuracy by group of people, and the gap between the groups."""
