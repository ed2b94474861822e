"""What came of the candidates: reasons in words, a run's outcome, and what is kept of it."""
