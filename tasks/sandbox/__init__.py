"""The sandbox: code that a model wrote runs here and nowhere else."""

from quintet.tasks.errors import SandboxError
from quintet.tasks.sandbox.running import Ran, run, unavailable
from quintet.tasks.settings import SandboxSettings

__all__ = ["Ran", "SandboxError", "SandboxSettings", "run", "unavailable"]
