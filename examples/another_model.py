"""One role speaks through another model: any LangChain chat model; only the solver's is trained.

Here the critic is LangChain's own stand-in, which needs no network and always says the same. In its place:

    from langchain_openai import ChatOpenAI
    critic = ChatOpenAI(model="gpt-5-mini", timeout=60)

Run it:  python examples/another_model.py
"""

from collections import Counter

from langchain_core.language_models import FakeListChatModel

from quintet import Loop, Settings
from quintet.memory.workspace import Workspace
from quintet.records import Call

critic = FakeListChatModel(responses=['{"advice": "Work it out digit by digit, then check the sign."}'])
# More attempts are revised than the config says, since the advice is another model's.
settings = Settings.load("examples/arithmetic.toml", ["solver.revise_share=0.5"])
loop = Loop(settings, models={"critic": critic})
print(loop.run().table())

with Workspace(loop.workspace).ledger() as ledger:
    calls = ledger.run(loop.run_name).find(Call)
for (role, model), number in Counter((call.role, call.model) for call in calls).most_common():
    print(f"{role} spoke through {model} {number} times")
