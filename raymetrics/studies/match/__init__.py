"""Top-1 matching: samples are drawn until every class has as many as the real set."""
