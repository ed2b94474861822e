"""Training pictures for machines that have no copy of the data folder: WebDataset shards on a path or object store."""
