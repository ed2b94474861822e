"""How the API answers: responses, errors, conditional requests, content negotiation."""
