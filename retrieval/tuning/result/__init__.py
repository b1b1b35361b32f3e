"""What a tuning run gives: measured points, the choice, tables and pictures."""
