"""Choose search settings by judged queries and by cost."""
