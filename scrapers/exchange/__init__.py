"""datasets in and out: pictures with labels in the forms that others use.

`readers/` understand a dataset and run in a confined process; `importer.py` stores what they find; `writers/` make a
dataset of ours that others read.
"""
