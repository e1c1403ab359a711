"""An evaluation from end to end: gather both sides, score them, and write a report that people and programs read."""
