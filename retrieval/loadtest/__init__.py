"""Load tests: requests sent by a schedule that does not wait for answers, and what their senders saw."""
