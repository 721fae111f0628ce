"""One benchmark result as text, Markdown, HTML and plots."""
