"""Networks, their pretrained weights, and their embeddings."""
