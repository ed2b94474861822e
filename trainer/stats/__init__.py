"""Predictions and what can be computed of them: metrics, intervals, folds, probes."""
