"""Our own promises, each as a script that measures whether it holds."""
