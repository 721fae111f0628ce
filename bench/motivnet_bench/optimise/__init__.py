"""The cheapest model that still answers as needed: planned, measured, drawn and built."""
