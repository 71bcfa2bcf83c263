"""Language models: the catalogue, the embedded architectures and how a model is loaded."""
