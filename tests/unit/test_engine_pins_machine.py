"""A share of the state machine of pins, in memory; tests/system/git has it at length."""

from hypothesis import HealthCheck, settings

from tests.machine.branches import MemoryBranch
from tests.machine.pins import Pins


class PinsInMemory(Pins):
    branches = MemoryBranch


PinsInMemory.TestCase.settings = settings(
    max_examples=16,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,  # the same steps each time; the long walk takes others on demand
    suppress_health_check=[HealthCheck.too_slow],  # whole estates are made, on a busy machine
)
TestPins = PinsInMemory.TestCase
