"""Tools: what the model may call while it works on a question."""

from quintet.agents.tools.port import GROUP, Tool, ToolError, load_tools, used

__all__ = ["GROUP", "Tool", "ToolError", "load_tools", "used"]
