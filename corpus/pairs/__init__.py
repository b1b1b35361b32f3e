"""Query-document pairs to train on: rules, filters, shares per source."""
