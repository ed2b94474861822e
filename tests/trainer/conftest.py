"""Makes the helper modules of this folder importable from the folders below (pytest adds a conftest's folder)."""
