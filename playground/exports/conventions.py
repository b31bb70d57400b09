"""Names of the OpenTelemetry semantic conventions for generative AI, v0.1.0, and of what only Quintet knows.

The conventions left the general ones after v1.41 and are in development:
https://github.com/open-telemetry/semantic-conventions-genai. Since v0.1.0 a workflow's name is `gen_ai.agent.name`, and
`gen_ai.request.top_k` is a whole number.
"""

from __future__ import annotations

VERSION = "0.1.0"
SCHEMA_URL = f"https://opentelemetry.io/schemas/gen-ai/{VERSION}"

# --- operations, each the first word of its spans' names ----------------------------------------------------

CHAT = "chat"
INVOKE_AGENT = "invoke_agent"
INVOKE_WORKFLOW = "invoke_workflow"
SEARCH_MEMORY = "search_memory"

# --- attributes ----------------------------------------------------------------------------------------------

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
CONVERSATION = "gen_ai.conversation.id"
AGENT = "gen_ai.agent.name"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
OUTPUT_TYPE = "gen_ai.output.type"
REQUEST_MODEL = "gen_ai.request.model"
CHOICE_COUNT = "gen_ai.request.choice.count"
MAX_TOKENS = "gen_ai.request.max_tokens"
SEED = "gen_ai.request.seed"
TEMPERATURE = "gen_ai.request.temperature"
TOP_K = "gen_ai.request.top_k"
RESPONSE_ID = "gen_ai.response.id"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
MEMORY_QUERY = "gen_ai.memory.query.text"
MEMORY_COUNT = "gen_ai.memory.record.count"
ERROR_TYPE = "error.type"
OTHER = "_OTHER"
SERVICE_NAME = "service.name"
SERVICE_VERSION = "service.version"
SERVICE_INSTANCE = "service.instance.id"

# --- the event that judges what a model said -----------------------------------------------------------------

EVALUATION = "gen_ai.evaluation.result"
EVALUATION_NAME = "gen_ai.evaluation.name"
SCORE_VALUE = "gen_ai.evaluation.score.value"
SCORE_LABEL = "gen_ai.evaluation.score.label"
EXPLANATION = "gen_ai.evaluation.explanation"

# --- ours ----------------------------------------------------------------------------------------------------

RUN = "quintet.run"
ROUND = "quintet.round"
TURN = "quintet.turn"
RECORD = "quintet.record"
"""Id of the record that a span or event stands for, as `quintet lineage` takes it."""
TASK = "quintet.task"
FAMILY = "quintet.family"
LEVEL = "quintet.level"
SPLIT = "quintet.split"
ADAPTER = "quintet.adapter"
ATTEMPT = "quintet.attempt"
SAMPLE = "quintet.sample"
"""Which of a call's choices, from 0."""
ACTION = "quintet.action"
OBSERVATION = "quintet.observation"
REWARD = "quintet.reward"
DONE = "quintet.done"
REFUSED = "quintet.refused"
"""What was done in an environment, what it answered and gave, whether it ended there, and whether it was no action."""
ANSWER = "quintet.answer"
STRICT = "quintet.strict"
"""Whether the strict extractor finds it right too."""
VERDICT = "quintet.verdict"
MEMORIES = "quintet.memories"
"""Ids of what was recalled."""
ATTEMPTS = "quintet.attempts"
ITEMS = "quintet.items"
RIGHT = "quintet.right"
"""How many attempts, or items, the verifier accepts."""
STRATEGY = "quintet.strategy"
ROWS = "quintet.rows"
MEASURED = "quintet.metrics."
"""Before the name of what was measured in training."""
TEXT = "quintet.text"
"""What a record says, in one line."""
REQUEST_SEED = "quintet.request.seed"
"""The seed as Quintet derives it: a hash, too long for a number."""
LINK = "quintet.link"
"""Why a span links to another: `part of`, `invented by`, `revises`, `made of`, `starts from` or `rests on`."""
