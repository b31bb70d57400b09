"""What is known of reasoning-gym's families without importing it: names, levels, answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from quintet.tasks.extraction import Form

LIBRARY_LEVELS: dict[str, int] = {
    "ab": 4,
    "advanced_geometry": 4,
    "aiw": 9,
    "arc_1d": 4,
    "arc_agi": 4,
    "base_conversion": 5,
    "basic_arithmetic": 5,
    "bf": 3,
    "binary_alternation": 4,
    "binary_matrix": 4,
    "bitwise_arithmetic": 10,
    "boxnet": 9,
    "caesar_cipher": 4,
    "calendar_arithmetic": 4,
    "chain_sum": 11,
    "circuit_logic": 5,
    "codeio": 4,
    "coin_flip": 13,
    "color_cube_rotation": 5,
    "complex_arithmetic": 4,
    "count_bits": 5,
    "count_primes": 5,
    "countdown": 5,
    "course_schedule": 5,
    "cryptarithm": 4,
    "decimal_arithmetic": 4,
    "decimal_chain_sum": 5,
    "dice": 4,
    "emoji_mystery": 6,
    "family_relationships": 9,
    "figlet_font": 6,
    "fraction_simplification": 4,
    "futoshiki": 4,
    "game_of_life": 4,
    "game_of_life_halting": 4,
    "gcd": 4,
    "graph_color": 4,
    "group_anagrams": 4,
    "intermediate_integration": 8,
    "isomorphic_strings": 4,
    "jugs": 4,
    "kakurasu": 4,
    "knight_swap": 5,
    "knights_knaves": 4,
    "largest_island": 4,
    "lcm": 4,
    "leg_counting": 36,
    "letter_counting": 8,
    "letter_jumble": 5,
    "mahjong_puzzle": 4,
    "manipulate_matrix": 5,
    "maze": 4,
    "mini_sudoku": 5,
    "modulo_grid": 6,
    "n_queens": 5,
    "needle_haystack": 4,
    "number_filtering": 4,
    "number_format": 4,
    "number_sequence": 4,
    "number_sorting": 8,
    "palindrome_generation": 4,
    "palindrome_partitioning": 4,
    "path_star": 4,
    "polynomial_equations": 4,
    "polynomial_multiplication": 4,
    "pool_matrix": 4,
    "power_function": 5,
    "prime_factorization": 4,
    "products": 11,
    "propositional_logic": 5,
    "puzzle24": 7,
    "quantum_lock": 10,
    "ransom_note": 4,
    "rearc": 7,
    "rectangle_count": 5,
    "rotate_matrix": 5,
    "rotten_oranges": 4,
    "rubiks_cube": 5,
    "rush_hour": 4,
    "self_reference": 10,
    "sentence_reordering": 4,
    "shortest_path": 4,
    "simple_equations": 4,
    "simple_geometry": 4,
    "simple_integration": 4,
    "sokoban": 14,
    "spell_backward": 5,
    "spiral_matrix": 4,
    "string_insertion": 4,
    "string_manipulation": 5,
    "string_splitting": 4,
    "string_synthesis": 4,
    "sudoku": 5,
    "survo": 4,
    "syllogism": 4,
    "time_intervals": 7,
    "tower_of_hanoi": 4,
    "tsumego": 4,
    "word_ladder": 3,
    "word_sequence_reversal": 4,
    "word_sorting": 5,
    "zebra_puzzles": 6,
}
"""Families of reasoning-gym 0.1.25 that have a curriculum, and how many levels that has; a test compares."""

_FORMS: dict[Form, str] = {
    "number": (
        "aiw basic_arithmetic binary_alternation chain_sum circuit_logic coin_flip count_bits "
        "count_primes decimal_arithmetic decimal_chain_sum gcd largest_island lcm leg_counting "
        "letter_counting maze number_format number_sequence power_function products rectangle_count "
        "rotten_oranges self_reference simple_equations simple_geometry"
    ),
    "fraction": "dice",
    "sentence": "emoji_mystery fraction_simplification knights_knaves sentence_reordering",
    "block": (
        "arc_agi binary_matrix boxnet futoshiki kakurasu manipulate_matrix mini_sudoku modulo_grid "
        "n_queens pool_matrix rearc rotate_matrix sudoku survo tower_of_hanoi"
    ),
}

FORMS: dict[str, Form] = {name: form for form, names in _FORMS.items() for name in names.split()}
"""What a family's answers look like; one that is not here answers in a line."""

Choices = int | Callable[[Mapping[str, Any]], int | None]

_WEEKDAYS = ("weekday_offset", "weekday_of_date", "weekday_of_date_from_first_date")
_CALENDAR = dict.fromkeys(_WEEKDAYS, 7) | {"is_leap_year": 2}

CHOICES: dict[str, Choices] = {
    "calendar_arithmetic": lambda metadata: _CALENDAR.get(metadata["task"]),
    "circuit_logic": 2,
    "color_cube_rotation": 6,
    "count_bits": lambda metadata: int(metadata["difficulty"]["n"][1]).bit_length(),
    "course_schedule": 2,
    "game_of_life_halting": 2,
    "isomorphic_strings": 2,
    "knights_knaves": lambda metadata: 2 ** len(metadata["names"]),
    "mahjong_puzzle": 3,
    "ransom_note": 2,
    "self_reference": 8,
    "syllogism": 2,
}
"""How many answers are possible, where that is few: a number, or a function of an item's metadata."""

MISJUDGED = frozenset({"game_of_life_halting"})
"""Families whose library verifier accepts any answer (it compares `bool` of two texts); ours compares the texts."""
