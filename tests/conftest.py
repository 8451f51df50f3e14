"""Settings of every test run."""

from hypothesis import settings

# A slow machine is not a wrong result; and the same examples every time make a red run repeatable.
settings.register_profile("edgesnn", deadline=None, derandomize=True)
settings.load_profile("edgesnn")
