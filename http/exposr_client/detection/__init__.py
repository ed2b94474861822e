"""From a verified version to a verdict on a picture."""
