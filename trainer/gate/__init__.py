"""Whether a candidate is published."""
