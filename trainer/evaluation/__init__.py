"""What a candidate is worth: calibration, operating points, robustness, unseen sources."""
