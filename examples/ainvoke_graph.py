"""The compiled LangGraph graph, invoked by hand: for those who bring their own streaming, checkpointer or tracing.

`loop.context()` begins the run and holds model, memory and ledger; the graph gets it as its runtime context. A graph
without a checkpointer needs no config; with one, `loop.graph(saver)` takes {"configurable": {"thread_id": ...}}.

Run it:  python examples/ainvoke_graph.py
"""

import asyncio

from quintet import Loop, Settings


async def main() -> None:
    loop = Loop(Settings.load("examples/arithmetic.toml"))
    async with loop.context() as context:
        state = await loop.graph().ainvoke(loop.opening(), context=context)
    # The state holds ids and counters; the records themselves stand in the ledger, from which the report is read.
    print(f"after round {state['round']}: incumbent {state['incumbent']}, training levels {state['levels']}")
    print(loop.result().table())


if __name__ == "__main__":
    asyncio.run(main())
