"""How a round was shared out: on the run's page with a link to its record, as a chart with numbers, and in `show`."""

from __future__ import annotations

import json
import re
from pathlib import Path

from starlette.testclient import TestClient

from quintet.graph.report import report
from quintet.graph.settings import Settings
from quintet.memory.workspace import Workspace
from quintet.playground.app import create_app
from quintet.records import Allocation, Decision, Proposal


def test_shares_are_told_round_by_round(tmp_path: Path) -> None:
    settings = Settings.compose({"rounds": 2}).model_dump(mode="json")
    place = Workspace(tmp_path)
    ledger = place.ledger().begin("shared", 0, {**settings, "joined": []}, "finished")
    shares = [{"drawn/gcd": 0.5, "drawn/<b>": 0.5}, {"drawn/gcd": 0.9, "drawn/<b>": 0.1}]
    told = {"rounds": 1.0, "tokens": 900.0, "mean": 0.0021}
    for number, share in enumerate(shares, 1):
        ledger.add(
            Allocation(round=number, shares=share, reason="thompson", evidence=dict.fromkeys(share, told)),
            Allocation(round=number, shares={"rule/hardest": 1.0}, reason="even shares"),
            Proposal(round=number, origin="drawn", number=0, family="gcd", level=0, accepted=False, reason="duplicate"),
            Decision(round=number, promoted=False, reason="no candidate"),
        )
    client = TestClient(create_app(tmp_path), base_url="http://127.0.0.1")
    text = client.get("/runs/shared").text
    assert "drawn/<b>" not in text
    charts = [
        json.loads(found) for found in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.S)
    ]
    drawn = {chart["title"]: chart for chart in charts if "title" in chart}
    of_tasks = {one["label"]: one["values"] for one in drawn["Shares of the tasks"]["series"]}
    assert of_tasks == {"drawn/gcd": [0.5, 0.9], "drawn/<b>": [0.5, 0.1]}
    assert drawn["Shares of the rows"]["form"] == "bars"
    for allocation in ledger.find(Allocation):
        assert f"/runs/shared/records/{allocation.id}" in text
    first = client.get(f"/runs/shared/records/{ledger.find(Allocation)[0].id}").text
    [row] = re.findall(r'<tr><th scope="row">drawn/gcd</th>(.*?)</tr>', first)
    assert re.findall(r">([^<]+)</td>", row) == ["0.5", "1", "900", "0.0021"]
    table = report(ledger, place).table()
    assert "round 2: shares of tasks: drawn/gcd 90 %, drawn/<b> 10 %" in table
    assert "round 2: shares of rows: rule/hardest 100 %" in table
