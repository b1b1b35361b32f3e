"""Query weights (IDF), their recency, and rising terms."""
