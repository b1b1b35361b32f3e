"""One file per command: parse, call one function of a package, echo. Packages are imported when a command runs."""
