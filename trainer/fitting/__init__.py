"""Fitting a model: the strategy, the linear head, the fine-tuning."""
