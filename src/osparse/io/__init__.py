"""Files, locks, Arrow tables, streams of rows, configuration files and progress bars."""
