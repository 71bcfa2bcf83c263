"""The suite people run, and the project's own promises."""
