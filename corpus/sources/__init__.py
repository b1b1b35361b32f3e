"""Reading other people's data: files, markup, rows, and one reader per kind of source."""
