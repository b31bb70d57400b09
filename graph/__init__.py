"""The LangGraph state machines, the composed settings, running and resuming."""
