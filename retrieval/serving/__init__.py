"""How a deployed index is asked beyond the plain dot product: query weights, two phases, feedback, fusion."""
