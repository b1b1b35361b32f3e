"""Published collections and their markup: Debian, Wikipedia, NamuWiki, MS MARCO and others, one reader each."""
