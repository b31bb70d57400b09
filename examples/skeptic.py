"""A sixth role: asks a second question about an attempt that passed.

Run it:  quintet run examples/arithmetic.toml --role examples/skeptic.py:Skeptic
"""

from pydantic import BaseModel, Field

from quintet import Episode, EpisodeRole


class Doubt(BaseModel):
    """What the skeptic says; decoding is constrained to it."""

    doubt: str = Field(max_length=60)


class Skeptic(EpisodeRole):
    """Asks a second question about an attempt that passed."""

    after = "critic"
    persona = "You doubt every result until you have checked it another way."
    reply = Doubt
    template = """
Problem: {{ scene.question }}
Answer given: {{ attempt.text }}
What could still be wrong with it? One short question, as JSON: {"doubt": "..."}
"""

    async def act(self, episode: Episode) -> Doubt | None:
        """Doubt the first attempt of the turn that the critic accepted."""
        passed = [a for a in episode.current() if episode.critiques[a.id].correct]
        return await self.ask(episode, attempt=passed[0]) if passed else None
