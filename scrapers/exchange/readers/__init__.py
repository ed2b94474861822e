"""One module for each form of a dataset; `detect.py` tells which form a path has."""
