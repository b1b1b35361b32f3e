"""What a serving index is watched by beyond its own state: queries of a log, recall of an approximate field."""
