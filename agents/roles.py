"""The two kinds of role: one speaks in the conversation about a task, the other acts once a round."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from quintet.agents.errors import AgentError, NoAnswerError
from quintet.agents.settings import JoinedSettings, RoleSettings
from quintet.agents.table import Episode, Question, Round, Table
from quintet.memory.errors import LedgerError
from quintet.models.errors import StoppingError
from quintet.models.providers import Asking, asking
from quintet.plugins import Plugin, plugins
from quintet.records import Completion, Message, Record, Reply, Task, Verdict, digest

if TYPE_CHECKING:
    from jinja2 import Template
    from langchain_core.language_models import BaseChatModel
    from langchain_core.outputs import LLMResult

GROUP = "quintet.roles"
"""The entry-point group through which an installed package brings roles to the table."""

Said = Record | BaseModel | Iterable[Record] | str | None
"""What an act may return: records, a reply of the role's own model, or nothing."""


@dataclass(frozen=True)
class Answered:
    """A model's answer to a role: n completions, of one call or of several."""

    completions: tuple[Completion, ...]
    calls: tuple[str, ...]
    """Id of the recorded call that each completion is of."""
    samples: tuple[int, ...]
    """Its place among that call's completions."""

    @property
    def call(self) -> str:
        """Id of the first call."""
        return self.calls[0]


class Role:
    """A chair at the table: a persona, words in a template, and an act."""

    name: ClassVar[str] = ""
    """How the table calls it; the class name in snake case unless said otherwise."""
    after: ClassVar[str] = "critic"
    """The role it speaks after."""
    before: ClassVar[str] = ""
    """The role it speaks before, instead of after one."""
    persona: ClassVar[str] = ""
    """Who it is: its system message."""
    reply: ClassVar[type[BaseModel] | None] = None
    """What it answers: decoding is constrained to this model; `None` is free text."""
    template: ClassVar[str | None] = None
    """Its words: a Jinja template or the path of one; `None` looks for `NAME.jinja` beside the class."""

    builtin: ClassVar[bool] = False
    """Whether the lifecycle cannot do without it: its failure then ends the run instead of being noted."""
    joined: bool = False
    """Whether it joined the five, by argument or by entry point."""
    table: Table

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def sit(self, table: Table) -> Self:
        """A copy of this role that sits at a table; one role may so serve several loops."""
        seated = copy.copy(self)
        seated.table = table
        return seated

    @property
    def settings(self) -> RoleSettings:
        """This role's settings at the table."""
        return self.table.settings.of(self.name)

    def speaks(self, round: int) -> bool:
        """Whether it has a say in a round: in every one, unless its settings name some or a class overrides this."""
        settings = self.settings
        rounds = settings.rounds if isinstance(settings, JoinedSettings) else None
        return rounds is None or round in rounds

    async def ask(self, scene: Episode | Round, **words: Any) -> Any:
        """Ask once; the answer as the role's reply model, or as text if it has none.

        Args:
            scene: The episode or round this is said in.
            words: Further variables of the template.

        Raises:
            AgentError: There is no answer, or it is not such a reply.
        """
        text = (await self.call(scene, **words)).completions[0].text
        if self.reply is None:
            return text
        try:
            return self.reply.model_validate_json(json_in(text))
        except ValidationError as error:
            raise AgentError(f"role {self.name!r} answered nonsense: {error.errors()[0]['msg']}") from None

    async def call(
        self,
        scene: Episode | Round | Question,
        *,
        n: int = 1,
        about: str = "",
        history: Sequence[Message] = (),
        heed: Sequence[str] = (),
        reply: type[BaseModel] | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        partial: str = "",
        **words: Any,
    ) -> Answered:
        """Render the role's words and call its chat model, under its adapter; the call is recorded.

        Args:
            scene: The episode or round this is said in; templates see it as `scene`.
            n: Completions wanted.
            about: Tells several questions of one role, task and turn apart; it goes into the seed.
            history: Messages between persona and question.
            heed: Words that join the persona, such as advice.
            reply: Constrains decoding to this model; by default the class's own.
            temperature: 0 is greedy; by default as the settings say.
            max_tokens: Longest completion; by default as the settings say.
            partial: What the completions begin with: the model goes on from there. For a model that Quintet serves.
            words: Further variables of the template.

        Returns:
            The call's id and its completions.

        Raises:
            NoAnswerError: The model gave no answer.
            AgentError: The role's words cannot be rendered.
        """
        settings, model, reply = self.settings, self.table.model(self.name), reply or self.reply
        task, turn, number, own = _where(scene, self.name)
        temperature = settings.temperature if temperature is None else temperature
        max_tokens = max_tokens or settings.max_tokens
        schema = reply.model_json_schema() if reply is not None else None
        if is_served(model):
            # The run's adapters are those of the model that is trained: another speaks as it is, unless told otherwise.
            adapter = settings.adapter or (own if model is self.table.model("") else None)
            options: dict[str, Any] = {
                "n": n,
                "temperature": temperature,
                "top_k": settings.top_k,
                "max_tokens": max_tokens,
                "seed": digest((self.table.seed, number, self.name, task, turn, about)),
                "adapter": adapter,
            }
            put = Asking(model, options if schema is None else {**options, "schema": schema})
        else:
            put = asking(model, temperature, max_tokens, schema)
        text = self.render(scene=scene, **words) + put.words
        messages = [*self.opening(heed), *history, Message(role="user", content=text)]
        messages += [Message(role="assistant", content=partial)] if partial else []
        metadata = {"role": self.name, "round": number, "task": task, "turn": turn}
        # A model that Quintet does not serve is not known to give several completions at once: it is asked n times.
        times = 1 if is_served(model) else n
        answers = []
        for sample in range(times):
            how = (settings.chat, temperature, max_tokens)
            identity = (metadata, about, sample, how, [dict(message) for message in messages])
            request = digest(identity)
            if not is_served(model):
                # Nobody else knows what such a model has said before, or what may still be spent on it.
                self.table.check()
                known = self.table.ledger.lookup(request)
                if known is not None:
                    answers.append(Answered(known.completions[:1], (known.id,), (0,)))
                    continue
            try:
                result = await put.model.agenerate(
                    [[to_langchain(message) for message in messages]],
                    callbacks=[self.table.recorder],
                    metadata={**metadata, "request": request},
                    **put.options,
                )
            except (LedgerError, StoppingError):
                raise
            except Exception as error:
                # Any LangChain model may sit here, each with errors of its own.
                raise NoAnswerError(f"{type(error).__name__}: {error}") from error
            answers.append(answered(result, request))
        return Answered(
            completions=tuple(completion for answer in answers for completion in answer.completions),
            calls=tuple(call for answer in answers for call in answer.calls),
            samples=tuple(sample for answer in answers for sample in answer.samples),
        )

    def heard(self, reply: Reply) -> BaseModel:
        """What it said, from the record; as `Words` where it said something else than its reply model."""
        try:
            return (self.reply or Words).model_validate(reply.content)
        except ValidationError:
            return Words.model_validate(reply.content)

    def opening(self, heed: Sequence[str] = ()) -> tuple[Message, ...]:
        """The system message with the role's persona and what it is to heed besides, if there is any."""
        persona = self.persona if self.settings.persona is None else self.settings.persona
        words = " ".join(filter(None, [persona, *heed]))
        return (Message(role="system", content=words),) if words else ()

    def render(self, **words: Any) -> str:
        """The role's words with the variables filled in.

        Raises:
            AgentError: The template is not one, or names a variable that is not there.
        """
        from jinja2 import TemplateError

        try:
            return (
                _template(self.words()).render(role=self, **{name: _blind(one) for name, one in words.items()}).strip()
            )
        except TemplateError as error:
            raise AgentError(f"template of role {self.name!r}: {error}") from error

    def check(self) -> None:
        """See that its words can be read, before anything is asked.

        Raises:
            AgentError: There is no such file, or it is no template.
        """
        from jinja2 import TemplateError

        try:
            _template(self.words())
        except TemplateError as error:
            raise AgentError(f"template of role {self.name!r}: {error}") from error

    def words(self) -> str:
        """The template's text: from the settings, the class, or the file beside the class."""
        given = self.settings.template or self.template
        if given is None:
            return _template_beside(type(self)).read_text(encoding="utf-8")
        if given.endswith((".jinja", ".j2", ".txt")):
            path = Path(given)
            if not path.is_absolute() and not path.exists():
                path = Path(inspect.getfile(type(self))).parent / path
            if not path.exists():
                raise AgentError(f"template of role {self.name!r}: no file {given}")
            return path.read_text(encoding="utf-8")
        return given


class Words(BaseModel):
    """What a role without a reply model of its own says."""

    model_config = ConfigDict(extra="allow")

    text: str = ""

    def __str__(self) -> str:
        return self.text or super().__str__()


class EpisodeRole(Role):
    """A role that speaks in the conversation about one task."""

    async def act(self, episode: Episode) -> Said:
        """Speak once in this turn; unless overridden, ask and return the reply.

        Returns:
            A reply model or a text (kept at `episode.replies[name]`; a `verdict` field routes), records, or nothing.
        """
        return await self.ask(episode)  # type: ignore[no-any-return]


class RoundRole(Role):
    """A role that acts once a round."""

    after: ClassVar[str] = "curator"

    async def act(self, round: Round) -> Said:
        """Act once in this round; what it returns is as for an episode role."""
        return await self.ask(round)  # type: ignore[no-any-return]


def verdict_of(said: BaseModel) -> Verdict | None:
    """The verdict that a reply carries, if any.

    Raises:
        AgentError: It is none that routes.
    """
    verdict: Verdict | None = getattr(said, "verdict", None)
    if verdict is not None and verdict not in get_args(Verdict):
        raise AgentError(f"verdict {verdict!r} is none of {', '.join(get_args(Verdict))}")
    return verdict


def plugged_in() -> list[Role]:
    """Roles that installed packages bring by entry point.

    Raises:
        PluginError: An entry point does not load.
        AgentError: It is no role.
    """
    return [_role(found) for found in plugins(GROUP)]


def _role(plugin: Plugin) -> Role:
    found, kinds = plugin.found, (EpisodeRole, RoundRole)
    role = found() if isinstance(found, type) and issubclass(found, kinds) else found
    if not isinstance(role, kinds):
        raise AgentError(f"{plugin.source} is no EpisodeRole or RoundRole")
    return role


def seating(builtin: Sequence[Role], joined: Sequence[Role]) -> list[Role]:
    """All roles in speaking order: each joined role before or after the one that it names.

    Several that name the same chair speak in the order in which they joined.

    Raises:
        AgentError: A name is taken, or a role wants to sit beside one that is not there.
    """
    order = list(builtin)
    waiting = list(joined)
    while waiting:
        seats = [role.name for role in order]
        role = next((role for role in waiting if (role.before or role.after) in seats), None)
        if role is None:
            lost = waiting[0]
            where = f"before {lost.before!r}" if lost.before else f"after {lost.after!r}"
            raise AgentError(f"role {lost.name!r} speaks {where}, but only {', '.join(seats)} are there")
        if role.name in seats:
            raise AgentError(f"two roles are called {role.name!r}; give one another `name`")
        waiting.remove(role)
        if role.before:
            place = seats.index(role.before)
        else:
            place = seats.index(role.after) + 1
            while place < len(order) and order[place] in joined and order[place].after == role.after:
                place += 1
        order.insert(place, role)
    return order


def to_langchain(message: Message) -> Any:
    """A record's message as a LangChain message."""
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
    return kinds[message.role](content=message.content)


def answered(result: LLMResult, request: str) -> Answered:
    """What a chat model's result says.

    Args:
        result: Of one prompt.
        request: The request's hash, where the model does not name one itself.

    Raises:
        NoAnswerError: It holds no completion.
    """
    from quintet.memory.recorder import completion

    output = result.llm_output or {}
    generations = result.generations[0] if result.generations else []
    if not generations:
        raise NoAnswerError(f"the model gave no answer: {output.get('error') or 'no completion'}")
    completions = [completion(generation) for generation in generations]
    number = len(completions)
    call = call_id(output.get("request", request))
    return Answered(tuple(completions), (call,) * number, tuple(range(number)))


def call_id(request: str) -> str:
    """The id under which a request's call is recorded."""
    return f"call-{digest({'request': request})[:16]}"


def json_in(text: str) -> str:
    """The JSON object in a text that may have words or a code fence around it."""
    start, end = text.find("{"), text.rfind("}")
    return text[start : end + 1] if 0 <= start < end else text


def is_served(model: BaseChatModel) -> bool:
    """Whether Quintet serves this model, so that it takes adapters, seeds and schemas."""
    return hasattr(model, "waves")


@lru_cache(maxsize=64)
def _template(words: str) -> Template:
    from jinja2 import Environment, StrictUndefined, TemplateRuntimeError

    # Prompts are text, not HTML: nothing is to be escaped.
    class Words(Environment):
        def getattr(self, thing: Any, attribute: str) -> Any:
            if attribute == "truth":
                raise TemplateRuntimeError("the truth is for verifiers, and in no prompt")
            return super().getattr(thing, attribute)

    environment = Words(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(words)


def _blind(value: Any) -> Any:
    """The same without ground truth, for templates."""
    match value:
        case Task():
            return value.blind()
        case Episode():
            return replace(value, task=value.task.blind())
        case Round():
            return replace(value, tasks=[task.blind() for task in value.tasks])
        case list() | tuple():
            return [_blind(one) for one in value]
    return value


def _where(scene: Episode | Round | Question, role: str) -> tuple[str | None, int, int, str]:
    """Task, turn and round of a scene, and the adapter under which a role speaks in it."""
    if isinstance(scene, Question):
        return scene.task, scene.turn, scene.round, scene.adapter
    if isinstance(scene, Episode):
        return scene.task.id, scene.turn, scene.round, scene.adapter
    return None, 0, scene.number, scene.adapters.get(role, scene.incumbent)


def _template_beside(role: type[Role]) -> Path:
    for owner in role.__mro__:
        if not issubclass(owner, Role) or owner in (Role, EpisodeRole, RoundRole):
            continue
        folder = Path(inspect.getfile(owner)).parent
        for path in (folder / f"{role.name}.jinja", folder / "templates" / f"{role.name}.jinja"):
            if path.exists():
                return path
    if issubclass(role, EpisodeRole):
        return Path(__file__).parent / "templates" / "episode.jinja"
    return Path(__file__).parent / "templates" / "round.jinja"
