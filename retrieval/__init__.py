"""a deployed index or a model, asked, explained and measured."""
