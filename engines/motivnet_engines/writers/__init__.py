"""Results as JSON Lines, CSV, tables and pictures."""
