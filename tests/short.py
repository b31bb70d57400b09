"""What shortens `examples/arithmetic.toml` to a minute: environment variables, so that scripts run as printed."""

from __future__ import annotations

SHORT = {
    "QUINTET_ROUNDS": "1",
    "QUINTET_PROPOSER__TASKS": "6",
    "QUINTET_PROPOSER__START_LEVEL": "0",
    "QUINTET_PROPOSER__INVENTED": "2",
    "QUINTET_SOLVER__SAMPLES": "4",
    "QUINTET_TRAINING__EPOCHS": "1",
    "QUINTET_TRAINER__LEAST_ROWS": "1",
    "QUINTET_EVALUATION__STEER_ITEMS": "5",
    "QUINTET_EVALUATION__GATE_ITEMS": "20",
    "QUINTET_EVALUATION__RETENTION_ITEMS": "0",
    "QUINTET_EVALUATION__FINAL_ITEMS": "20",
}
