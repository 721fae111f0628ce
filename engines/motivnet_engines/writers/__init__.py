"""How results leave: lines of JSON, rows of CSV, a table, and pictures."""
