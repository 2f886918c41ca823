"""The public functions: their names, signatures and documentation, and what they check."""
