"""One HTML file for a run: a module per section turns records into plain data, a template shows it."""
