"""Results as reports for a terminal, Markdown, and HTML with plots."""
