"""One process or several, on one machine or several."""
