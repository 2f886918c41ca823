"""From formulas to source text, for any target."""
