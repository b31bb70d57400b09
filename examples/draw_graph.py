"""The two state machines as Mermaid diagrams, with a sixth role at the table; needs no model.

Paste what it prints into any Markdown page that draws Mermaid, or into https://mermaid.live.

Run it:  python examples/draw_graph.py
"""

from quintet import EpisodeRole, Loop, Settings
from quintet.graph.episode import episode_graph

loop = Loop(Settings.load("examples/arithmetic.toml", ['join=["examples/skeptic.py:Skeptic"]']))
print(loop.graph().get_graph().draw_mermaid())

# The episode graph is made anew for each round, of the roles that speak in the conversation about one task.
speakers = [role for role in loop.roles if isinstance(role, EpisodeRole)]
print(episode_graph(speakers).compile().get_graph().draw_mermaid())
