"""For all tests."""

from hypothesis import settings

# how long an example takes says something of the machine alone
settings.register_profile("mlops", deadline=None)
settings.load_profile("mlops")
