"""Reports: what a run did and what was measured, as one offline page, JSON and Markdown."""
