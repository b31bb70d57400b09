"""The loop from a script: every progress event as it comes, then the table of rounds and the verdict.

Run it:  python examples/stream.py
"""

from quintet import Loop, Settings

loop = Loop(Settings.load("examples/arithmetic.toml"))
for event in loop.stream():
    match event:
        case {"event": "begin", "stage": stage, "round": number}:
            print(f"round {number}: {stage:<30}", flush=True)
        case {"event": "wave", "done": done, "of": of, "tokens_per_second": float(rate)}:
            print(f"  {done} of {of} replies, {rate:.0f} tokens/s ", end="\r", flush=True)
        case {"event": "decision", "reason": text} | {"event": "said", "text": text}:
            print(text, flush=True)
print(loop.result().table())
