"""From files to tensors: snapshot, split, decoding, augmentation, sampling."""
