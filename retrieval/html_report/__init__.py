"""One HTML file that shows how an index or a bundle answers judged queries, and where it loses to a baseline."""
