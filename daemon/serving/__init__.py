"""What the API serves of the published versions: the list, the signed pointer, the keys."""
