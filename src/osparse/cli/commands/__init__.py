"""One file per command: parse, call one function of a room, echo. Rooms are imported when a command runs."""
