"""Training of the embedded models: one loop that can be killed and goes on where it was."""
