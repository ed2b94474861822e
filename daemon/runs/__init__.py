"""Scrape and training runs: the queue, and the job process of each."""
