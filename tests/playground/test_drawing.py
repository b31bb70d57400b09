"""A drawing puts what follows to the right, crosses few lines, clips its texts, and is the same every time."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from quintet.playground.drawing import CHARACTER, Edge, Node, clipped, draw
from quintet.playground.rendering import environment


def node(id: str, layer: int, **more: str) -> Node:
    return Node(id=id, label=more.pop("label", id), layer=layer, **more)


def graphs() -> st.SearchStrategy[tuple[list[Node], list[Edge]]]:
    nodes = st.lists(st.integers(-2, 5), min_size=1, max_size=14).map(
        lambda layers: [node(f"n{n}", layer, detail="x" * (n % 2)) for n, layer in enumerate(layers)]
    )
    return nodes.flatmap(
        lambda made: st.tuples(
            st.just(made),
            st.lists(
                st.builds(
                    Edge,
                    source=st.sampled_from([*(one.id for one in made), "nowhere"]),
                    target=st.sampled_from([one.id for one in made]),
                ),
                max_size=20,
            ),
        )
    )


@given(graphs())
def test_no_two_nodes_overlap_and_none_leaves_the_drawing(graph: tuple[list[Node], list[Edge]]):
    nodes, edges = graph
    drawing = draw(nodes, edges)
    assert drawing == draw(nodes, edges)
    assert [placed.node for placed in drawing.nodes] == nodes
    for placed in drawing.nodes:
        assert placed.x >= 0
        assert placed.y >= 0
        assert placed.x + placed.width <= drawing.width
        assert placed.y + placed.height <= drawing.height
        assert len(placed.label) * CHARACTER < placed.width
        for other in drawing.nodes:
            if other is not placed and other.x == placed.x:
                assert abs(other.y - placed.y) >= min(other.height, placed.height)
            if other.node.layer > placed.node.layer:
                assert other.x > placed.x + placed.width


@given(graphs())
def test_every_edge_between_two_nodes_is_drawn_once(graph: tuple[list[Node], list[Edge]]):
    nodes, edges = graph
    ids = {one.id for one in nodes}
    wanted = {edge for edge in edges if edge.source in ids and edge.source != edge.target}
    lines = draw(nodes, edges).lines
    assert {line.edge for line in lines} == wanted
    assert len(lines) == len(wanted)
    assert all(re.fullmatch(r"[MCH\d. -]+", line.d) for line in lines)


def test_crossings_that_need_not_be_are_undone():
    left, right = [node(f"l{n}", 0) for n in range(5)], [node(f"r{n}", 1) for n in range(5)]
    drawing = draw([*left, *right], [Edge(source=f"l{n}", target=f"r{4 - n}") for n in range(5)])
    y = {placed.node.id: placed.y for placed in drawing.nodes}
    assert sorted(range(5), key=lambda n: y[f"l{n}"]) == sorted(range(5), key=lambda n: y[f"r{4 - n}"])


def test_a_chain_is_straight():
    drawing = draw([node(str(n), n) for n in range(4)], [Edge(source=str(n), target=str(n + 1)) for n in range(3)])
    assert len({placed.y for placed in drawing.nodes}) == 1


def test_texts_are_clipped_by_their_width():
    assert clipped("short") == "short"
    assert clipped("a\n b  c") == "a b c"
    assert clipped("x" * 50, 10) == "x" * 9 + "…"
    assert clipped("漢" * 50, 10) == "漢" * 4 + "…"
    assert draw([], []).nodes == ()


def test_it_is_rendered_without_styles_and_its_texts_are_texts():
    drawing = draw([node("a", 0, label="<b>a</b>", detail="&", href='/x?"', classes="role-solver"), node("b", 1)], [])
    template = environment().from_string(
        '{% from "graph.html" import graph %}{{ graph(drawing, "A <graph>", hidden) }}'
    )
    shown = template.render(drawing=drawing, hidden=False)
    assert "<b>" not in shown
    assert "style=" not in shown
    assert 'aria-label="A &lt;graph&gt;"' in shown
    assert 'href="/x?&#34;"' in shown
    assert 'aria-hidden="true"' in template.render(drawing=drawing, hidden=True).split("<svg")[0]
