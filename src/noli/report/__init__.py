"""Reports: one offline HTML file, JSON and a Markdown card from a run folder."""
