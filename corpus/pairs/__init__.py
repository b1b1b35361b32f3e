"""Query-document pairs to train on: rules, filters, masked titles, shares per source."""
