"""Repository-wide: the plugin under test runs in sandboxes of its own."""

pytest_plugins = ["pytester"]
